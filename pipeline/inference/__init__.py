"""From trained networks to masks: champion, backends, sliding window, predictor, clean-up, agreement."""
