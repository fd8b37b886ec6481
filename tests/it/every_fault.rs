//! Every file operation fails once, in every phase: the client has its page or a clean error, and the directory is whole.
