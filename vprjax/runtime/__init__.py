"""The machine under a run: devices, processes, memory, preemption, compiled programs."""
