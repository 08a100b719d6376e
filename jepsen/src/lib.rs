//! Is it true? Workloads, faults, simulation, checkers, load.
