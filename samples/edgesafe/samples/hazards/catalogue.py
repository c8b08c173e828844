"""Which third-party drawings show a hazard of the demo policy, and which are harmless.

The drawings come from icon packs in the Iconify JSON format and from clip-art collections; the
names below were chosen by looking at the pictures. A name that is neither a hazard nor in
``AMBIGUOUS`` counts as harmless, so that whole packs serve as hard negatives in the very styles of
the hazards.
"""

from __future__ import annotations

import re


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TAGS = ("weapon", "fire", "blood", "drugs")

# Coloured packs: the same few names in every emoji set, each drawn by other artists.
COLOUR_PACKS = (
    "noto",
    "noto-v1",
    "twemoji",
    "openmoji",
    "fluent-emoji",
    "fluent-emoji-flat",
    "emojione",
    "emojione-v1",
    "fxemoji",
    "streamline-emojis",
)
COLOUR_HAZARDS: dict[str, tuple[str, ...]] = {
    "weapon": ("kitchen-knife", "dagger", "crossed-swords", "bomb", "axe", "pistol"),
    "fire": ("fire", "wild-fire", "collision"),
    "blood": ("drop-of-blood",),
    "drugs": ("pill", "pills", "syringe"),
}

# Silhouette packs: one colour, to be filled, shaded or sketched by `restyle`.
SILHOUETTE_PACKS = ("game-icons", "healthicons", "icon-park")
SILHOUETTE_HAZARDS: dict[str, tuple[str, ...]] = {
    "weapon": _names(
        "ak47 ak47u battle-axe blunderbuss bowie-knife broad-dagger broadsword butterfly-knife c96 "
        "colt-m1911 crossed-axes crossed-pistols crossed-sabres crossed-swords crossbow "
        "curvy-knife cz-skorpion daggers desert-eagle dynamite famas fire-axe flanged-mace fn-fal "
        "gladius halberd hatchet hatchets hook-swords katana kitchen-knives lee-enfield luger "
        "m3-grease-gun mac-10 machete machine-gun meat-cleaver minigun molotov mp-40 mp5 mp5k "
        "musket p90 pistol-gun plain-dagger pointy-sword revolver rolling-bomb sacrificial-dagger "
        "sawed-off-shotgun sharp-axe stick-grenade stiletto switchblade tec-9 thompson-m1 "
        "thompson-m1928 thrown-knife time-bomb time-dynamite tomahawk trench-knife "
        "two-handed-sword unlit-bomb uzi walther-ppk war-axe winchester-rifle wood-axe "
        "kitchen-knife holy-sword holy-hand-grenade steyr-aug spectre-m4 bundle-grenade "
        "flash-grenade stun-grenade bolter-gun battered-axe cracked-saber croc-sword energy-sword "
        "rune-sword stone-axe relic-blade bone-knife piercing-sword ancient-sword fire-bomb"
    ),
    "fire": _names(
        "fire small-fire flame campfire burning-embers celebration-fire wildfires pyre "
        "burning-forest burning-tree fire-two fire-wave fire-tail fire-bowl fire-zone "
        "fire-silhouette burning-book flaming-sheet flamed-leaf match-head match-tip torch "
        "primitive-torch bright-explosion corner-explosion crowned-explosion mine-explosion "
        "spiky-explosion explosion-rays"
    ),
    "blood": _names(
        "blood spatter splurt droplets blood-drop dripping-blade dripping-knife bloody-sword "
        "dripping-sword bloody-stash bleeding-wound"
    ),
    "drugs": _names(
        "pill pills medicine-pills syringe medicines hypodermic-test love-injection injection "
        "blister-pills-oval-x1 blister-pills-oval-x4 blister-pills-oval-x14 blister-pills-oval-x16 "
        "blister-pills-round-x1 blister-pills-round-x4 blister-pills-round-x14 "
        "blister-pills-round-x16 pills-2 pills-3 pills-4 syringe-vaccine hemp powder"
    ),
}

# Packs of plain signs: few hazards in each, but every pack has a hand of its own. The variants of a
# sign (filled, thin, ...) count as the sign; what else is harmless in them is what the coloured
# packs call by the same name, since most of the rest are buttons and logos.
SIGN_PACKS = (
    "tabler",
    "ph",
    "mdi",
    "boxicons",
    "hugeicons",
    "fa6-solid",
    "solar",
    "mingcute",
    "lucide",
    "ri",
    "la",
    "whh",
    "fontisto",
    "memory",
    "lets-icons",
    "emojione-monotone",
    "fluent-emoji-high-contrast",
    "streamline-plump",
    "streamline-ultimate",
    "dinkie-icons",
    "jam",
    "temaki",
    "majesticons",
    "vaadin",
)
SIGN_HAZARDS: dict[str, tuple[str, ...]] = {
    "weapon": _names(
        "axe axe-battle battle-axe bomb bomb-minimalistic dagger dagger-knife cleaver chefs-knife "
        "crossed-swords kitchen-knife gun pistol knife knife-bread knife-military knives sword "
        "sword-cross sword-f swords pocket-knife surgical-knife martial-arts-swords"
    ),
    "fire": _names(
        "fire flame fire-simple fire-small fire-minimalistic fire-flame-curved fire-flame-simple "
        "fire-pit flame-f flame-kindling safety-flame-right campfire bonfire explosion boom "
        "collision matchstick"
    ),
    "blood": _names("blood blood-drop drop-of-blood"),
    "drugs": _names(
        "pill pills pill-multiple pills-tablet pill-bottle jar-of-pills capsule capsule-f capsules "
        "capsule-horizontal medicine-capsule tablet-capsule medication syringe injection "
        "injection-syringe vaccine cannabis cannabis-leaf drugs-cannabis joint tablets "
        "prescription-bottle"
    ),
}
_VARIANT = re.compile(
    r"-(filled|fill|bold|light|thin|duotone|outline|line|linear|broken|solid|remix|rounded|sharp|"
    r"regular|alt|small|\d+)$"
)


def sign(name: str) -> str:
    """Return the name of a sign without what tells its variant."""
    shorter = _VARIANT.sub("", name)
    return name if shorter == name else sign(shorter)


# Shows a hazard, hints at one, or cannot be told: neither class.
AMBIGUOUS = re.compile(
    r"knife|knives|dagger|sword|blade|sabre|saber|axe|hatchet|cleaver|machete|scythe|sickle|glaive|"
    r"spear|halberd|lance|trident|mace|flail|katana|kunai|shuriken|arrow|\bbow\b|bow-|gun|pistol|"
    r"revolver|rifle|musket|shot|bullet|ammo|cannon|artillery|mortar|missile|rocket|torpedo|mine\b|"
    r"grenade|bomb|explo|blast|dynamite|detonat|nuclear|weapon|luger|glock|uzi|tank\b|war|army|"
    r"soldier|sniper|assault|kill|murder|stab|slash|cut-|wound|fire|flam|burn|blaze|pyro|torch|"
    r"ember|lava|volcan|inferno|hell|candle|match|lighter|smok|cigar|\bash|lit-|brasero|meteor|comet|"
    r"phoenix|blood|bleed|gore|vampire|drip|drop|splash|splat|splurt|spatter|stain|spill|leak|"
    r"collision|\bboom\b|prescription|heart-?(on|drop|burn|beat|attack|organ)|bleeding-heart|anatomical|organ|lung|kidney|liver|brain|skull|dead|death|grave|coffin|corpse|zombie|bone|suicide|"
    r"overdose|poison|toxic|drug|pill|medic|pharm|capsule|tablet|syringe|inject|needle|vaccin|dose|"
    r"cannabis|hemp|marijuana|joint|opium|heroin|cocaine|powder|mushroom|potion|vial|flask|bottle-|"
    r"health|hospital|nurse|doctor|surg|scalpel|bandage|first-aid|transfus|iv-|drip|virus|"
    r"alcohol|beer|wine|cocktail|whisky|sake|bong|pipe|razor|shear|saw|sharp|spike|claw|fang|"
    r"\btooth\b|bite|attack|punch|fist|brawl|fight|duel|\bhit|impact|strike|headshot|guillotine|"
    r"gibbet|gallow|execution|torture|handcuff|prison|devil|demon|daemon|ghost|skelet|monster|evil|"
    r"scream|fear|terror|crime|bandit|pirate|ninja|samurai|knight|viking|gladiator|warrior|barbarian|"
    r"rogue|assassin|archer|swordman|amputation|decapitat|pierc|impal|hook|barbed|trap|sting|"
    r"condom|nude|naked|sex|breast|butt|middle-finger|\bpoo|turd|vomit|laser|ray-|zat|"
    r"tec-|mp5|mp-40|p90|famas|fal\b|enfield|thompson|steyr|skorpion|desert-eagle|ppk|colt|c96|"
    r"mac-10|spectre|ak47|bayonet|blunderbuss|crossbow|catapult|trebuchet|ballista|slingshot|"
    r"nunchaku|kusarigama|baton|whip|club\b|sun-spear|harpoon|stake|dart|chakram|boomerang|oil|fuel|"
    r"gas|campfire|barbecue|kebab|ketchup-|hot-|heat|steam|"
    r"gladius|molotov|stiletto|tomahawk|pyre|hypodermic"
)
# Not pictures of things: letters, signs, interface symbols.
SYMBOL = re.compile(
    r"flag|button|keycap|letter|squared|number|digit|symbol|arrow|clock-|oclock|thirty|skin|tone|"
    r"circled|mark\b|sign|japanese|input|medium|light-|dark-|abstract|zodiac|card-|tarot|dice|"
    r"inverted|perspective|negative|outline|24px|person|man-|woman|men-|women|people|family|couple|"
    r"kiss|hand|finger|cursor|power|wifi|usb|chart|play-|pause|next|previous|forward|backward|level|"
    r"tic-tac|triangle|square|circle|diamond|star-|-brick|rank|achievement|regional|indicator|"
    r"component|hair|curly|blank|empty|divert|expand|contract|network|position|tally|trigger|"
    r"hexagon|slot|checkbox|infinity|clef|sharp|flat-"
)

# Harmless things that a careless model takes for a hazard: drawn more often than the rest.
LOOKALIKE = re.compile(
    r"scissors|hammer|wrench|spanner|screwdriver|spoon|ladle|fork|whisk|brush|pen\b|pencil|crayon|"
    r"umbrella|baguette|carrot|chili|pepper|tomato|strawberry|cherr|apple|rose|tulip|hibiscus|flower|"
    r"maple|leaf|leaves|autumn|sun\b|sunset|sunrise|orange|tangerine|peach|lipstick|ketchup|balloon|"
    r"candy|sweet|lollipop|egg|button|bean|peanut|battery|lipstick|toothbrush|hair-dryer|drill|"
    r"flashlight|faucet|tap\b|trumpet|guitar|violin|flute|bat\b|cricket|hockey|ski|paddle|ruler|key|"
    r"corkscrew|shovel|trowel|rake|broom|pizza|watermelon|beet|radish|lemon|banana|corn|asparagus|"
    r"feather|quill|comb|heart|thermometer|teddy|balloon|camera|remote|phone|water-|soap|chalk|marble|bead|coin|cookie|ball"
)
