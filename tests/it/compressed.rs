//! Pages in a content coding: which one is sent to whom, under which tag, and what becomes of them.
