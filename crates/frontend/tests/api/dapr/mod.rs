//! Dapr's lock API: the same behaviour over gRPC and over HTTP.

mod app;
mod callers;
mod conformance;
mod errors;
mod gone;
