//! Pure row capture.
