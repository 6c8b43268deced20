"""What leaves and who asked: retention, erasure, data subjects, the kill switch, the audit log."""
