//! Proves that an implementation keeps the rules of Eventwire.
//!
//! The cases are data (`cases/*.json`, described by `cases.schema.json`): each holds an implementation to one rule of
//! `docs/spec`, by what clients send and receive and nothing else. They are embedded in the binary, so that
//! `eventwire-conformance run http://127.0.0.1:4800` is all that an implementation in any language needs.
//!
//! * [`case`]: what a case may say; [`cases`]: the embedded ones.
//! * [`matching`], [`scope`]: how frames are compared, and what placeholders stand for.
//! * [`target`]: what is checked, a URL or the hub in this process.
//! * [`run`]: plays a case; [`report`]: plays all of them and says what came of it.
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.
#![forbid(unsafe_code)]

pub mod case;
pub mod cases;
pub mod matching;
pub mod principals;
pub mod report;
pub mod run;
pub mod scope;
pub mod target;

/// The examples in the README run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
