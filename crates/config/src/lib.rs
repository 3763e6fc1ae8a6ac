//! Every option of the agent, defined once: HCL, JSON and flags, merged and validated
