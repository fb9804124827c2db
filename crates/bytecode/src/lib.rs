//! (front page follows)
#![forbid(unsafe_code)]
