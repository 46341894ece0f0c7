"""Other tools' descriptions of networks, read into a workload and written from one."""
