"""Fuzzing: whatever is read ends in a reading or in a reason, never in a fault of ours, a hang or a crash."""
