//! Tests in the booted kernel.
