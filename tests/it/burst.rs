//! Many cold pages at once: what they cost the backend and the disk.
