//! The reactor behind Ferrio, without Python.
#![cfg_attr(not(test), warn(missing_docs))]
