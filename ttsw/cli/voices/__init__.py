"""`ttsw voices`: list, check, add, download and remove voice packs; register recordings to clone."""
