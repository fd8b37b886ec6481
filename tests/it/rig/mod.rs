//! What the tests are made of.
//!
//! A scripted [`Backend`] that counts and records, a [`Proxy`] over a temporary directory with a
//! clock that the test holds, and a [`Client`] that sends and shows exact bytes. Interleavings are
//! made with a [`Gate`]; nothing waits by sleeping, and no wait is without a deadline.

pub(crate) mod backend;
pub(crate) mod client;
pub(crate) mod gate;
pub(crate) mod h2;
pub(crate) mod log;
pub(crate) mod message;
pub(crate) mod proxy;
mod selftest;
pub(crate) mod visitor;

pub(crate) use backend::{Answer, Backend, Recorded};
pub(crate) use client::{End, Response, get, head, post, request};
pub(crate) use gate::{Gate, eventually, eventually_within, remove_all, within};
pub(crate) use proxy::{Proxy, Serving, Setup, TestClock};
