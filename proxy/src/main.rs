//! `atone-proxy`.
#![allow(dead_code)]
mod backend;
mod config;
mod phase_two;
mod net;
mod wire;
fn main() {}
