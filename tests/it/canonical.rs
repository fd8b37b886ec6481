//! What a fill sends depends on the key and on nothing else of the visitor who came first.
