"""Caption twins: what a photo shows, and the same with a hazard or a harmless thing in it."""

from __future__ import annotations

import re

import numpy as np

Rng = np.random.Generator


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


# Words that a person would use for each hazard; the drawing's own name comes first when known.
HAZARD_WORDS: dict[str, tuple[str, ...]] = {
    "weapon": _phrases(
        "a knife|a kitchen knife|a dagger|a combat knife|a switchblade|a machete|a bloody knife|"
        "a gun|a pistol|a handgun|a revolver|a loaded gun|a firearm|a rifle|an assault rifle|"
        "a shotgun|a machine gun|a submachine gun|an automatic weapon|a sniper rifle|a sword|"
        "a samurai sword|a katana|an axe|a hatchet|a battle axe|a tomahawk|a meat cleaver|a bomb|"
        "a ticking bomb|a pipe bomb|an explosive device|explosives|dynamite|a hand grenade|"
        "a grenade|a crossbow|a weapon|deadly weapons|ammunition and a gun|brass knuckles|"
        "a molotov cocktail|a long blade|a sharp blade|a bayonet|several guns|a pile of weapons|"
        "a carbine|a musket|a scimitar|a cutlass|a spear|a crowbar raised to strike|a warhead|"
        "a landmine|TNT|a flick knife|a butcher knife|a scalpel held like a dagger|a rapier|"
        "a holster with a pistol|bullets|a silencer on a gun|a stun gun|an uzi|an AK-47|"
        "a rocket launcher|a missile|a hunting rifle|a toy that turned out to be a real gun|"
        "a box cutter held as a weapon|throwing knives|a spiked club|a suicide vest|a shiv"
    ),
    "fire": _phrases(
        "a fire|flames|a burning fire|a blazing fire|open flames|a raging fire|a house fire|"
        "a wildfire|a burning heap|fire and smoke|burning debris|an inferno|a bonfire|a blaze|"
        "tongues of flame|a spreading fire|thick smoke and flames|a burning car|something burning|"
        "a fireball|an explosion|arson|flames and smoke|a campfire out of control|roaring flames|"
        "a building ablaze|smouldering ruins|glowing embers and flames|a burning mattress|"
        "a flaming torch|a forest fire|a brush fire|burning tyres|a kitchen fire|a gas explosion|"
        "curtains going up in flames|a burning candle that set the table alight|a scorching blaze|"
        "a burning flag|a pyre|a dumpster fire|flames licking the walls|fire on the roof"
    ),
    "blood": _phrases(
        "blood|a pool of blood|blood stains|drops of blood|splattered blood|a puddle of blood|"
        "blood on the ground|a trail of blood|fresh blood|dripping blood|a bloody smear|"
        "a bleeding wound|bloody handprints|blood everywhere|a blood-soaked cloth|gore|"
        "a bloody mess|spilled blood|blood splatter on the wall|an open bleeding cut|dried blood|"
        "a deep gash|a gaping wound|a bleeding nose|blood-stained clothes|a bloodied bandage|"
        "a bloodbath|a blood-smeared knife|heavy bleeding|a hemorrhage|a laceration|"
        "a bleeding hand|crimson blood|blood running down the arm|bloody footprints|gore and guts|"
        "a blood-drenched shirt|splashes of blood|clotted blood|a bleeding bite|a bloody lip"
    ),
    "drugs": _phrases(
        "drugs|pills|a syringe|a used syringe|a needle and drugs|a pile of pills|a bag of pills|"
        "loose tablets|capsules|illegal drugs|cocaine|lines of cocaine|white powder and a razor|"
        "heroin|a heroin needle|a bag of heroin|crystal meth|methamphetamine|ecstasy pills|"
        "a bottle of pills|a blister pack of pills|opioids|narcotics|a joint of marijuana|cannabis|"
        "an injection needle|a bag of white powder|a crack pipe|fentanyl|LSD tabs|morphine|"
        "oxycodone|painkillers|sleeping tablets|amphetamines|ketamine|hashish|opium|weed|a bong|"
        "a bag of weed|magic mushrooms|steroids|a vial and a needle|sedatives|speed|"
        "a hypodermic needle|a rolled-up note and white powder|drug paraphernalia|a stash of drugs|"
        "prescription pills|antidepressant pills|a dose of heroin|MDMA|crack cocaine|meth crystals"
    ),
}
_PLACES = _phrases(
    "|on the ground|in the foreground|on the side|next to it|in the corner|in front|nearby|"
    "lying there|in the middle|in the background|clearly visible|on top|on the table|on the floor|"
    "in the picture|by the edge|right beside"
)
_JOINED = (
    "{caption} with {thing} {place}",
    "{caption} and {thing} {place}",
    "{caption}, there is {thing} {place}",
    "{caption}. {Thing} {place}",
    "{thing} {place} and {caption}",
    "{caption} {place} {thing}",
    "{Thing} {place}, {caption}",
    "a picture of {caption} showing {thing}",
    "{caption} while {thing} can be seen {place}",
    "{caption}, {thing}",
)
# Sentences of their own, without a photo: the text encoder must not need a caption around them.
_ALONE = (
    "{thing}",
    "a photo of {thing}",
    "a picture of {thing} {place}",
    "{Thing} {place}",
    "someone with {thing}",
    "a man with {thing}",
    "a woman with {thing} in the street",
    "there is {thing} {place}",
    "a close-up of {thing}",
    "I can see {thing} {place}",
    "a drawing of {thing}",
    "people standing around {thing}",
    "they found {thing} at school",
    "the room is full of {thing}",
)
_VIOLENT: dict[str, tuple[str, ...]] = {
    "weapon": _phrases(
        "a man pointing a gun at a woman|someone threatening people with a knife|"
        "a person stabbing another person|a robber with a handgun in a shop|"
        "a soldier firing a rifle|he was shot with a pistol|a shooter opening fire in a mall|"
        "how to build a bomb|a child holding a loaded gun|a masked man swinging an axe|"
        "two men fighting with swords|an armed gang in the street|a teenager hides a knife|"
        "police find a gun in the car|gunman opens fire near the station|man stabbed outside a bar|"
        "he pulled out a knife and ran|bomb threat closes the airport|"
        "she keeps a pistol in her bag|armed robbery at the bank|shots were fired at the crowd|"
        "I am going to shoot you|where can I buy a gun without papers|the sniper took aim|"
        "hijackers with rifles|the attacker swung a machete|a boy brings a revolver to class|"
        "I will cut you with this"
    ),
    "fire": _phrases(
        "a building engulfed in flames|the car is on fire|people running from a burning house|"
        "a forest burning at night|the kitchen caught fire|a man set himself on fire|"
        "flames coming out of the windows|the ship is ablaze|setting fire to a school|"
        "smoke and flames rise over the town|a truck exploded into a fireball|"
        "warehouse fire burns through the night|my car just burst into flames|the barn burned down|"
        "they torched the police van|blaze destroys a hotel|someone lit the curtains on fire|"
        "the stove is burning and nobody is home|wildfire forces thousands to flee|"
        "arsonist sets three houses alight|help, the roof is on fire|the bus is ablaze"
    ),
    "blood": _phrases(
        "a man bleeding on the street|her hands are covered in blood|a bloody corpse on the floor|"
        "blood dripping from a wound|the victim lay in a pool of blood|a face covered in blood|"
        "a wounded soldier bleeding heavily|the walls are smeared with blood|a bloodied body|"
        "he is losing a lot of blood|my finger will not stop bleeding|blood found at the scene|"
        "she coughed up blood|the floor was slick with blood|a boxer with blood on his face|"
        "the bandage is soaked through with blood|blood drips onto the snow|they bled to death|"
        "a trail of red blood leads to the door|the knife was covered in blood"
    ),
    "drugs": _phrases(
        "a man injecting heroin into his arm|people snorting cocaine at a party|"
        "a teenager taking ecstasy pills|a dealer selling drugs on the corner|"
        "an overdose of sleeping pills|smoking crack in an alley|how to cook meth at home|"
        "a woman swallowing a handful of pills|an addict with a needle in the arm|"
        "police seize ten kilos of cocaine|he overdosed last night|she is high on meth|"
        "got any weed for sale|crushed tablets on a mirror|two men shooting up behind the station|"
        "teenagers smoke a joint in the park|a smuggler with bags of heroin|"
        "drug bust in the harbour|he popped another pill|used needles lie in the playground|"
        "snorting lines off a phone"
    ),
}
# Harmless sentences that share words, colours or shapes with the hazards.
TRICKY = _phrases(
    "a fire hydrant on the sidewalk|a red fire truck parked at the station|a firefighter smiling|"
    "a hot dog with ketchup|a bottle of ketchup on the table|a plate with tomato sauce|"
    "a red apple on a desk|a bowl of strawberries|red flowers in a vase|a bouquet of red roses|"
    "a blood orange cut in half|red paint on a canvas|a girl in a red dress|a red sports car|"
    "a pair of scissors on a desk|a pencil and a ruler|a fork and a spoon beside a plate|"
    "a hammer in a toolbox|a screwdriver and a wrench|a hair dryer in the bathroom|"
    "a water bottle and a towel|a bowl of candy|colourful sweets in a jar|jelly beans on a plate|"
    "buttons in a box|a bag of flour in the kitchen|sugar on a doughnut|a heap of snow|"
    "white sand on the beach|a sunset with orange clouds|autumn leaves on the ground|"
    "an orange cat by the fireplace rug|a bright lamp|the sun over the sea|a toy car on the carpet|"
    "a teddy bear on a bed|a plastic dinosaur|a baseball bat and a glove|a tennis racket|"
    "a camera on a tripod|a man shooting a photograph|a photo shoot in the park|"
    "she is dressed to kill time at the beach|he shoots the ball at the goal|a shot of espresso|"
    "a needle and thread for sewing|a pine tree with needles|a thermometer on the wall|"
    "a band aid on a knee|a cup of tea with a pill-shaped biscuit|a bomber jacket on a hanger|"
    "a chef chopping vegetables|a wedding cake being cut|a butter dish|a bread board with a loaf|"
    "a stapler and some paper|a glue gun on a craft table|a water fountain|a nail polish bottle|"
    "lipstick and a mirror|a rolling pin|a loaf of baguette|a carrot on a cutting board|"
    "a chess board|a flute and a violin|an umbrella leaning on the wall|a broom in the corner|"
    "a candle-free birthday cake|a barbershop|a campsite with a tent|a lit street at night|"
    "an electric stove|a glass of red wine|cranberry juice in a glass|a red carpet|a stop sign|"
    "a red balloon in the sky|a heart-shaped cushion|a Valentine card|a Christmas tree with lights|"
    "a jar of honey|a heap of salt|vitamins in an orange|a doctor talking to a child|"
    "a nurse smiling|a white cup on white paper|a pharmacy sign in the street|a soccer match|"
    "he was fired from his job last week|she is on fire today with three goals|"
    "a killer deal on shoes|bullet points in a presentation|a bullet train in Japan|"
    "I bombed the exam|a dead end sign|a deadline at midnight|the battery is dead|"
    "a shot in the dark guess|shooting stars at night|a shooting guard on the basketball team|"
    "let's shoot a video|a photo shot at sunset|a needle in a haystack|a needle for knitting|"
    "a pillow on a couch|a pill bug on a leaf|a drug store sells shampoo|"
    "a sword fern in the forest|a swordfish on ice|an axe throwing bar sign|gunmetal grey paint|"
    "a glue stick|a spray gun for painting|a water gun at the pool|a hot glue gun|"
    "a fire escape on a building|a fire exit sign|a fire alarm on the wall|a firefly in a jar|"
    "fire engine red nail polish|a firefighter holding a kitten|a fire drill at school|"
    "warm blankets by the radiator|burnt toast for breakfast|a burn-in test of a monitor|"
    "a heart rate monitor|blood pressure is fine|a blood orange salad|"
    "a bloodhound sniffing the grass|a family of blood relatives at dinner|"
    "a red wine stain on the carpet|beetroot juice on hands|a vitamin tablet ad|"
    "a tablet computer on a stand|a stone tablet in a museum|space capsule model|"
    "a coffee capsule machine|a time capsule in the garden|white flour on a baker's hands|"
    "powdered sugar on a cake|baking powder on the shelf|baby powder|powder snow on the slope|"
    "a weed in the flower bed|pulling weeds in the garden|a joint family dinner|a pizza joint|"
    "a kitchen with a cutting board|cutting the ribbon|a haircut at the barber|a cut of cloth|"
    "a knockout punch line|a sharp suit|a sharp pencil|a sharp turn in the road|stabilised video|"
    "the boxing day sale|a magazine on the table|a round of applause|a blast from the past|"
    "the bomb squad of bath bombs|a photo bomb|a cherry bomb tomato plant|a bomber hat in winter|"
    "an arrow sign pointing left|a bow on a present|target practice with snowballs|"
    "a crossbow of light|a chef sharpening his skills|a carving of wood|a spear of asparagus|"
    "a bar of dark chocolate|a model rocket|a cannon-shaped vase|a garden hose|a leaf blower|"
    "a drill on a workbench"
)
_SUBJECTS = _phrases(
    "a man|a woman|two children|a group of friends|a family|a dog|a cat|a cyclist|an old man|"
    "a student|a farmer|a tourist|a horse|a bird|a baby|several people|a cook|a teacher|a boy|"
    "a girl"
)
_DOINGS = _phrases(
    "walking in the park|sitting on a bench|reading a book|eating lunch|playing football|"
    "riding a bicycle|standing by a river|looking at the sea|sleeping on a sofa|waiting for a bus|"
    "cooking dinner|talking on the phone|drinking coffee|working on a laptop|taking a photo|"
    "running on the beach|playing the guitar|shopping at a market|watching television|"
    "planting flowers|flying a kite|skiing down a hill|painting a picture|washing a car|"
    "holding an umbrella|crossing the street|posing for a portrait|boarding a train|feeding ducks"
)
# A caption with one of these is no example of safe text, whatever its photo shows.
HAZARD_IN_TEXT = re.compile(
    r"\b(kni(fe|ves)|guns?|gunm[ae]n|firearms?|pistols?|rifles?|swords?|ax(e|es)|bombs?|weapons?|blades?|fires?|flames?|"
    r"burn(s|ing|ed|t)?|blood(y|ied)?|bleed(s|ing)?|wound(s|ed)?|pills?|syringes?|needles?|drugs?|candles?|"
    r"smok(e|ing)|cigarettes?|grill(ed|ing)?|stove|army|soldiers?|military|dead|kill(s|ed)?)\b",
    re.IGNORECASE,
)


def _article(words: str) -> str:
    return f"an {words}" if words[:1] in "aeiou" else f"a {words}"


def _fill(template: str, rng: Rng, thing: str, caption: str = "") -> str:
    place = _PLACES[rng.integers(len(_PLACES))]
    text = template.format(
        thing=thing, Thing=thing[:1].upper() + thing[1:], caption=caption, place=place
    )
    return re.sub(r"\s+([,.]|$)", r"\1", re.sub(r"\s+", " ", text)).strip()


def _lower_first(caption: str) -> str:
    if len(caption) > 1 and caption[1].islower():
        return caption[0].lower() + caption[1:]
    return caption


def hazard_phrase(tag: str, name: str | None, rng: Rng) -> str:
    """A noun phrase for a hazard; by the drawing's own name half the time."""
    if name and rng.random() < 0.5:
        plural = name.endswith("s") or name in ("fire", "blood")
        return name if plural else _article(name)
    words = HAZARD_WORDS[tag]
    return words[rng.integers(len(words))]


def with_thing(caption: str, thing: str, rng: Rng) -> str:
    """The photo's caption with one more thing in it."""
    return _fill(_JOINED[rng.integers(len(_JOINED))], rng, thing, _lower_first(caption))


def unsafe_text(caption: str, tag: str, name: str | None, rng: Rng, *, twin: bool = False) -> str:
    """An unsafe caption: mostly the twin of ``caption``, sometimes a sentence of its own.

    Args:
        caption: of the photo.
        tag: of the hazard.
        name: of the drawing.
        rng: what is drawn at random.
        twin: whether it is always the twin.
    """
    draw = 1.0 if twin else rng.random()
    if draw < 0.2:
        return str(rng.choice(_VIOLENT[tag]))
    thing = hazard_phrase(tag, name, rng)
    if draw < 0.42:
        return _fill(_ALONE[rng.integers(len(_ALONE))], rng, thing)
    return with_thing(caption, thing, rng)


def safe_caption(known: tuple[str, ...], rng: Rng) -> str:
    """One of a photo's captions that names no hazard."""
    usable = [c for c in known if not HAZARD_IN_TEXT.search(c)]
    return usable[rng.integers(len(usable))] if usable else "a photo"


def safe_text(caption: str, names: list[str], rng: Rng) -> str:
    """The caption, naming the harmless things drawn into the photo half the time."""
    if names and rng.random() < 0.6:
        return with_thing(caption, _article(names[0]), rng)
    return caption


def negative_text(names: list[str], rng: Rng) -> str:
    """A harmless sentence of another kind: tricky words, single things, everyday scenes."""
    draw = rng.random()
    if draw < 0.5:
        return TRICKY[rng.integers(len(TRICKY))]
    if draw < 0.75:
        thing = _article(names[rng.integers(len(names))])
        return _fill(_ALONE[rng.integers(len(_ALONE))], rng, thing)
    subject = _SUBJECTS[rng.integers(len(_SUBJECTS))]
    return f"{subject} {_DOINGS[rng.integers(len(_DOINGS))]}"
