"""What every layer above speaks: scans, labels, manifests, studies, splits, plans, journals, errors."""
