//! No field, parameter, method, host or body of one visitor reaches the page of the next.
