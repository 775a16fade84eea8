"""Names, descriptions and adjectives of the defects, and which of them occur on which surface."""

from __future__ import annotations

from dataclasses import dataclass

METAL = ("brushed metal", "rolled steel", "cast metal")
SHINY = ("brushed metal", "painted sheet", "plastic", "glass", "ceramic tile")
HARD = (*METAL, "painted sheet", "plastic", "glass", "ceramic tile", "wood")
POROUS = ("fabric", "cardboard", "wood", "concrete", "ceramic tile")
SOFT = ("fabric", "leather", "cardboard", "rubber")
BRITTLE = ("glass", "ceramic tile", "concrete", "plastic", "wood", "cast metal", "rolled steel")
FIXTURED = (*METAL, "painted sheet", "plastic", "wood", "circuit board", "fabric", "leather")
ALL = (
    *METAL,
    "painted sheet",
    "plastic",
    "glass",
    "ceramic tile",
    "concrete",
    "wood",
    "circuit board",
    *SOFT,
)


@dataclass(frozen=True, slots=True)
class Word:
    """What is said of a defect.

    Attributes:
        descriptions: how it looks, in a few words.
        surfaces: where it can occur.
        adjectives: the kinds that are said of it: "line" (thin, wide, long, short), "size" (small, large),
            "shape" (round, irregular, elongated), "tone" (dark, bright), "colour" (red, brown ...).
    """

    descriptions: tuple[str, ...]
    surfaces: tuple[str, ...]
    adjectives: tuple[str, ...] = ()


WORDS: dict[str, Word] = {
    "scratch": Word(
        ("thin straight line scored into the surface", "shallow groove"),
        (*HARD, "leather", "rubber", "circuit board"),
        ("line", "tone"),
    ),
    "crack": Word(
        ("dark jagged branching line", "fracture running through the material"),
        (*BRITTLE, "rubber", "painted sheet"),
        ("line", "tone"),
    ),
    "cut": Word(
        ("straight slit with sharp edges", "clean narrow gap"),
        SOFT,
        ("line",),
    ),
    "tear": Word(
        ("ragged open gap with frayed edges", "ripped material"),
        ("fabric", "leather", "cardboard"),
        ("size",),
    ),
    "broken thread": Word(
        ("straight gap where one thread of the weave is gone",),
        ("fabric",),
        ("line", "tone"),
    ),
    "loose thread": Word(
        ("curling thread lying on the surface", "long curved fibre"),
        ("fabric", "leather"),
        ("line", "tone"),
    ),
    "scuff": Word(
        ("rubbed patch of many fine parallel scratches", "dull worn area"),
        ("leather", "plastic", "painted sheet", "rubber", *METAL),
        ("size", "tone"),
    ),
    "wrinkle": Word(
        ("soft parallel folds", "creased material"),
        ("fabric", "leather", "rubber", "cardboard"),
        ("size",),
    ),
    "hole": Word(
        ("dark opening through the material", "missing material with a sharp rim"),
        (*SOFT, "wood", "plastic", "painted sheet", "cast metal", "concrete"),
        ("size", "shape"),
    ),
    "pinhole": Word(
        ("tiny round dark pore", "very small black dot with a rim"),
        (*METAL, "painted sheet", "plastic", "ceramic tile", "rubber", "circuit board", "glass"),
        ("tone",),
    ),
    "spot": Word(
        ("small round fleck of another colour", "isolated dot"),
        ALL,
        ("size", "shape", "tone", "colour"),
    ),
    "stain": Word(
        ("discoloured patch left by a dried liquid", "blotch of another colour"),
        (
            "fabric",
            "leather",
            "cardboard",
            "wood",
            "ceramic tile",
            "concrete",
            "plastic",
            "painted sheet",
            "rolled steel",
        ),
        ("size", "shape", "tone", "colour"),
    ),
    "oil stain": Word(
        ("dark greasy patch with soft edges", "wet-looking smear"),
        (*METAL, *POROUS, "painted sheet"),
        ("size", "tone"),
    ),
    "dent": Word(
        ("shallow hollow, one side lit and the other in shadow", "pressed-in area"),
        (*METAL, "painted sheet", "plastic", "cardboard", "wood"),
        ("size", "shape"),
    ),
    "bubble": Word(
        ("round raised blister with a highlight", "small dome with a bright glint"),
        ("painted sheet", "plastic", "glass", "rubber", "circuit board"),
        ("size", "shape"),
    ),
    "rust": Word(
        ("rough orange-brown corrosion", "patchy reddish-brown area"),
        (*METAL, "painted sheet"),
        ("size", "colour"),
    ),
    "discoloration": Word(
        ("wide soft change of colour", "faded or darkened area"),
        ALL,
        ("tone", "colour"),
    ),
    "pitting": Word(
        ("cluster of many tiny dark pits", "pockmarked area"),
        (*METAL, "concrete", "painted sheet"),
        ("size",),
    ),
    "crazing": Word(
        ("net of fine hairline cracks", "web of thin lines"),
        ("ceramic tile", "glass", "plastic", "painted sheet", "concrete"),
        ("size", "tone"),
    ),
    "peeling paint": Word(
        ("flaked-off paint showing the bare ground", "angular patch of missing coating"),
        ("painted sheet",),
        ("size", "tone"),
    ),
    "fingerprint": Word(
        ("oval smudge of fine curved ridges",),
        SHINY,
        ("tone",),
    ),
    "knot": Word(
        ("dark oval with rings where a branch grew", "brown round eye in the grain"),
        ("wood",),
        ("size", "shape"),
    ),
    "contamination": Word(
        ("foreign crumbs lying on the surface", "small debris with shadows"),
        ALL,
        ("size", "tone", "colour"),
    ),
    "missing part": Word(
        ("empty place in a regular row of parts", "empty seat where a screw should be"),
        FIXTURED,
    ),
    "misaligned part": Word(
        ("part shifted out of its row and rotated",),
        FIXTURED,
    ),
    "bent part": Word(
        ("pushed out of its straight or regular shape", "kink in what runs straight around it"),
        (*METAL, "plastic", "rubber", "painted sheet", "fabric", "circuit board"),
        ("size",),
    ),
    "worn area": Word(
        ("smooth patch where all around is ridged or textured", "relief rubbed off"),
        (*METAL, "plastic", "rubber", "leather", "fabric", "wood"),
        ("size", "shape"),
    ),
    "chip": Word(
        ("piece broken out of the edge", "notch with a rough fracture face"),
        (*BRITTLE, "painted sheet", "rubber"),
        ("size",),
    ),
    "burr": Word(
        ("ragged ridge of material sticking out over the edge",),
        (*METAL, "plastic", "rubber"),
        ("size",),
    ),
    "damaged thread": Word(
        ("crests of a screw thread bent or worn",),
        (*METAL, "plastic", "painted sheet"),
        ("size",),
    ),
    "broken teeth": Word(
        ("teeth or ribs of a regular row bent, worn or gone",),
        (*METAL, "plastic", "painted sheet", "rubber"),
        ("size",),
    ),
    "faulty imprint": Word(
        ("letters that are partly gone or printed twice", "smeared or incomplete print"),
        (*METAL, *SOFT, "painted sheet", "plastic", "ceramic tile", "wood"),
    ),
    "star crack": Word(
        ("cracks running from one point in all directions",),
        (*BRITTLE, "painted sheet"),
        ("size", "tone"),
    ),
    "fuzzy ball": Word(
        ("tangle of fibres standing out of the cloth",),
        ("fabric",),
        ("size", "tone"),
    ),
    "glue": Word(
        ("clear or milky glossy smear", "residue of adhesive"),
        (*METAL, *SOFT, "ceramic tile", "plastic", "wood", "circuit board"),
        ("size", "shape"),
    ),
    "dirty mark": Word(
        ("dull grey or brown smear with soft borders", "rubbed-in dirt"),
        (*SHINY, *SOFT, "rolled steel", "cast metal"),
        ("size", "shape", "tone"),
    ),
    "inclusion": Word(
        ("dark or pale fleck drawn out along the grain", "foreign matter rolled into the surface"),
        (*METAL, "glass", "rubber", "wood"),
        ("size", "shape", "tone"),
    ),
    "weld defect": Word(
        ("gap, hump or hole at one place of a weld", "interrupted or swollen weld bead"),
        METAL,
        ("size",),
    ),
    "porosity": Word(
        ("small round dark pits in a weld",),
        METAL,
        ("size",),
    ),
    "bad weld": Word(
        ("long stretch of a weld lumpy and uneven in breadth", "rough irregular weld bead"),
        METAL,
    ),
    "spatter": Word(
        ("little balls of metal scattered beside a weld",),
        METAL,
        ("size",),
    ),
    "mouse bite": Word(
        ("notch in the edge of a conductor line",),
        ("circuit board",),
        ("size",),
    ),
    "spur": Word(
        ("tongue of copper sticking out of a conductor line",),
        ("circuit board",),
        ("size",),
    ),
    "spurious copper": Word(
        ("patch of copper on open board",),
        ("circuit board",),
        ("size", "shape"),
    ),
    "missing hole": Word(
        ("land without its drilled hole",),
        ("circuit board",),
    ),
    "open circuit": Word(
        ("gap in a conductor line", "interrupted trace"),
        ("circuit board",),
        ("size",),
    ),
    "short circuit": Word(
        ("bridge of metal joining two neighbouring conductors",),
        ("circuit board",),
        ("size",),
    ),
}

DEFECT_NAMES: tuple[str, ...] = tuple(WORDS)
DESCRIPTIONS: dict[str, tuple[str, ...]] = {name: word.descriptions for name, word in WORDS.items()}
