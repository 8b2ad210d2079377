"""Words that a sentence's end is judged by: abbreviations with a full stop of their own, and words that open sentences.

Data only; how they decide stands in `ttsw.text.boundaries`. Abbreviations are written without their last full stop.
"""

# ruff: noqa: RUF001  # marks and words of many scripts are what this file is about


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEVER_LAST = _words("""
    dr mr mrs ms prof mt ft gen rep sen gov capt cpt cmdr lt col sgt maj adm rev hon pres messrs mx wm
    e.g i.e cf vs approx ca viz al fig figs eq eqs vol vols pp dept est
    z.b d.h u.a u.ä o.ä i.d.r bzw ca vgl hr hrn fr frl inkl exkl evtl ggf sog bzgl geb
    m mm mme mmes mlle mlles me p.ex ex c.-à-d env
    sr sra srta sres dra dres ud uds p.ej d
    г ул т.е т.д
""")
"""Abbreviations after which a sentence goes on: titles before a name, "for example", "about"."""

SELDOM_LAST = _words("""
    st inc ltd co corp bros jr esq ave blvd rd sq p.m a.m ph.d b.c a.d b.sc m.sc
    mwst tel usf jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun
""")
"""Abbreviations after which a sentence ends only where the next word is one that opens sentences."""

CAPITAL_ONLY = _words("jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun co")
"""Of these, the ones that are words of their own in small letters: "he sat."."""

BEFORE_NUMBER = _words("no nos nr art sec ch p pp vol fig bd s ziff kap § núm n pág apt rm ext abs")
"""Abbreviations only where a number follows: "No. 5", but "No. I don't."."""

AFTER_ORDINAL = _words("""
    januar februar märz april mai juni juli august september oktober november dezember
    jahrhundert jahrhunderts weltkrieg weltkriegs klasse platz stock liga mal auflage
""")
"""German nouns after which "5." was an ordinal number."""

STARTERS = _words("""
    The This That These Those He She It We You I They A An In On At But And So If When Then There What Who Why How
    Where His Her My Our Your Their Its For From After Before As By Is Are Was Were Do Does Did Can Could Will Would
    Please Let No Not Yes Now Here However Also Some Many Most All One Both Each While Although Because Since Take Buy
    Der Die Das Ein Eine Er Sie Es Wir Ich Ihr Und Aber Wenn Dann Danach Am Im Zu Mit Heute Danke
    Le La Les Un Une Il Elle Ils Elles Nous Vous Je Et Mais Puis C'est
    El Los Las Una Ella Ellos Yo Pero Y Luego
""")
"""Words that, with a capital, rather open a sentence than stand in a name."""

JOINTS = _words("""
    and or but because which that while when where if so then than as who whose although since until
    und oder aber weil dass wenn damit sondern et ou mais parce que qui y o pero porque
""")
"""Words before which a long sentence may be cut where it has no mark at all."""
