//! Bodies in memory: never another page than the files say.
