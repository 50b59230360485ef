"""What runs on the cluster: programs told what to do by a spec file, answering with a result file."""
