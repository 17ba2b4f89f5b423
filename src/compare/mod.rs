//! Comparing: the join of three ordered streams, and the policy that decides.

pub use policy::PolicyOptions;

pub mod policy;
