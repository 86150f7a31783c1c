//! Brings what clients ask of the application to its back ends.
