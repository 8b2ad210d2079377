"""`ttsw profiles`: list, show, compare, verify and plan."""
