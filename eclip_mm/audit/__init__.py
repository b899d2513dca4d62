"""What is wrong in a catalogue, by the features of a trained model and by its pictures."""

from eclip_mm.audit.issues import KINDS, Issue
from eclip_mm.audit.running import Audit, run_audit

__all__ = ['KINDS', 'Audit', 'Issue', 'run_audit']
