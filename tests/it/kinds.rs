//! Error answers for documents and for other requests are kept apart.
