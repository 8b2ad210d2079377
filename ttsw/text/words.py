"""Word lists for sentence boundaries: abbreviations with a full stop, and words that open sentences.

Data only; `ttsw.text.boundaries` uses them. Abbreviations are listed without their last full stop.
"""

# ruff: noqa: RUF001  # marks and words of many scripts are what this file is about


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEVER_LAST = _words("""
    dr mr mrs ms prof gen sen gov capt cpt cmdr lt sgt maj adm rev hon messrs mx wm
    e.g i.e cf vs approx viz al figs eq eqs
    z.b d.h u.a u.ä o.ä i.d.r bzw ca vgl hrn frl inkl exkl evtl ggf sog bzgl geb med phil kath
    mme mmes mlle mlles p.ex c.-à-d
    sra srta sres dra dres p.ej dott sig ул т.е
""")
"""Abbreviations after which a sentence continues: titles before a name, "for example", "about"."""

SELDOM_LAST = _words("""
    st inc ltd co corp bros jr sr esq ave blvd rd sq mt ft dept est col rep pres mm hr fr p.m a.m ph.d b.c a.d b.sc m.sc
    mwst tel usf jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun
""")
"""Abbreviations after which a sentence ends only if the next word opens sentences."""

CAPITAL_ONLY = _words("""
    col rep fr al sig co mar mon wed sat sun jan feb apr jun jul aug sep oct nov dec tue thu fri
""")
"""Those of both lists that are another word in lower case, as in "he sat."."""

BEFORE_NUMBER = _words("no nos nr n° art sec ch p pp fig vol bd s ziff kap § n pág apt rm ext abs")
"""Abbreviations only before a number: "No. 5", but "No. I don't."."""

LOWER_CASE_ONLY = _words("etc min max sec hr hrs wk yr yrs oz lb lbs tbsp tsp temp misc ext incl excl avg no")
"""Abbreviations after which a text without capitals continues; in other texts the next word's case decides."""

AFTER_ORDINAL = _words("""
    januar februar märz april mai juni juli august september oktober november dezember
    jahrhundert jahrhunderts weltkrieg weltkriegs klasse platz stock liga mal auflage
""")
"""German nouns before which a number with a full stop is an ordinal."""

STARTERS = _words("""
    A All Also Although An And Another Any Are As At Be Because Before Both But Buy By Can Can't Come Could Did Do
    Does Don't Each Even Every Everyone Everything For From Get Go Had Has Have He Her Here His How However I If In Is
    Isn't It Its Just Let Let's Look Make Many Maybe Most My No Nobody Not Nothing Now Oh On Once One Only Or Our
    Perhaps Please See She Should Since So Some Someone Something Still Such Sure Take Thank Thanks That The Their
    Then There These They This Those Though To Try Until Use Was We Well Were What When Where Which While Who Whose
    Why Won't Would Yes Yet You Your
    Aber Am Danach Danke Dann Das Der Die Ein Eine Er Es Heute Ich Ihr Im Mit Sie Und Wenn Wir Zu
    C'est Elle Elles Et Il Ils Je La Le Les Mais Nous Puis Un Une Vous
    El Ella Ellos Las Los Luego Pero Y Yo
""")
"""Words that, capitalised, more likely open a sentence than belong to a name."""

JOINTS = _words("""
    and or but because which that while when where if so then than as who whose although since until
    und oder aber weil dass wenn damit sondern et ou mais parce que qui y o pero porque
""")
"""Words before which an overlong sentence without marks may be cut."""
