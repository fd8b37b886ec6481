//! Floods of made-up addresses, hosts and variants leave disk and memory where they were.
