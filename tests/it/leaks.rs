//! Backends that behave as real frameworks do: nobody gets a page, a cookie or a token that is another's.
