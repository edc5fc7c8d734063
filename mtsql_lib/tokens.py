"""Text to token ids and back, one codec a model; ids and mask of an episode; the viewer that draws the mask
in colour.

Token in, token out: sampled ids are decoded to be read, and never encoded again. Prompts and observations
are encoded once, piece by piece, so the ids of an episode are the concatenation of what was encoded and
what was sampled.
"""

from __future__ import annotations

from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mtsql_lib.errors import KitError
from mtsql_lib.protocol import END_OF_TURN
from mtsql_lib.spelling import fixed_tokens, spell, unspell

if TYPE_CHECKING:
    from mtsql_lib.environment import Episode

PAD = "<|endoftext|>"


class Codec(Protocol):
    """What the kit needs of a tokenizer."""

    end_of_turn: int
    pad: int
    vocab_size: int

    def encode(self, text: str) -> list[int]:
        """Text, markup included, to ids."""

    def decode(self, ids: list[int]) -> str:
        """Ids to text; total."""


class SpelledCodec:
    """The tiny model's codec: spelling, then word pieces of a `tokenizers` WordPiece model
    (`tokenizer.json`).
    """

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        vocabulary = tokenizer.get_vocab()
        self._tokens = [token for token, _ in sorted(vocabulary.items(), key=lambda entry: entry[1])]
        self._ids = vocabulary
        self._fixed = frozenset(fixed_tokens())
        self._pieces = lru_cache(maxsize=50_000)(self._word_pieces)
        self.end_of_turn, self.pad, self.vocab_size = (
            vocabulary[END_OF_TURN],
            vocabulary[PAD],
            len(self._tokens),
        )

    def encode(self, text: str) -> list[int]:
        """Text, markup included, to ids."""
        return [i for token in spell(text) for i in self._pieces(token)]

    def decode(self, ids: list[int]) -> str:
        """Ids to text; total: pieces without a beginning are read as a word."""
        words: list[str] = []
        for token in (self._tokens[i] for i in ids):
            continues = token.startswith("##")
            if continues and words and words[-1] not in self._fixed:
                words[-1] += token[2:]
            else:
                words.append(token[2:] if continues else token)
        return unspell(words)

    def token(self, i: int) -> str:
        """One id as the vocabulary spells it."""
        return self._tokens[i]

    def _word_pieces(self, token: str) -> tuple[int, ...]:
        if token in self._fixed:
            return (self._ids[token],)
        return tuple(self._tokenizer.encode(token, add_special_tokens=False).ids)


class TransformersCodec:
    """A published model's codec: its own tokenizer from a local folder."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self.end_of_turn = tokenizer.convert_tokens_to_ids(END_OF_TURN)
        self.pad = tokenizer.pad_token_id
        self.vocab_size = len(tokenizer)

    def encode(self, text: str) -> list[int]:
        """Text, markup included, to ids."""
        return self._tokenizer.encode(text, add_special_tokens=False)

    def decode(self, ids: list[int]) -> str:
        """Ids to text with the special tokens spelled out."""
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def token(self, i: int) -> str:
        """One id as text."""
        return self._tokenizer.decode([i])


def load_codec(model: str | Path) -> Codec:
    """The codec of a model folder; a tokenizer whose config says `"spelled": true` is the tiny model's.

    Raises KitError if the folder holds no tokenizer.
    """
    import json

    folder = Path(model)
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        if config.get("spelled"):
            from tokenizers import Tokenizer

            return SpelledCodec(Tokenizer.from_file(str(folder / "tokenizer.json")))
    except FileNotFoundError as fault:
        raise KitError(
            f"{folder} holds no tokenizer ({Path(str(fault.filename)).name} is missing): give a model folder"
        ) from None
    except Exception as fault:
        raise KitError(
            f"the tokenizer in {folder} cannot be read ({str(fault)[:120]}): take a fresh copy"
        ) from None
    from transformers import AutoTokenizer

    return TransformersCodec(AutoTokenizer.from_pretrained(folder, local_files_only=True))


def train_spelled_tokenizer(texts, size: int, folder: Path) -> SpelledCodec:
    """Learn word pieces of the spelled texts (an iterator of str) and save the tokenizer; `size` counts all
    tokens.
    """
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    fixed = fixed_tokens()
    skip = frozenset(fixed)
    words = (" ".join(t for t in spell(text) if t not in skip) for text in texts)
    tokenizer = Tokenizer(models.WordPiece(unk_token="<glue>", max_input_chars_per_word=1000))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=[*fixed, *letters, *("##" + c for c in letters)],
        initial_alphabet=letters,
        show_progress=False,
    )
    tokenizer.train_from_iterator(words, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    _unmark_letters(tokenizer, fixed, folder / "tokenizer.json")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "spelled": True,
        "eos_token": END_OF_TURN,
        "pad_token": PAD,
        "unk_token": "<glue>",
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return SpelledCodec(Tokenizer.from_file(str(folder / "tokenizer.json")))


def _unmark_letters(tokenizer, fixed: list[str], path: Path) -> None:
    # letters were passed as special tokens only to fix their place in the vocabulary; they would be cut
    # out of every word
    import json

    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] in (END_OF_TURN, PAD)]
    path.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def mask_html(episode: Episode, codec) -> str:
    """The episode with trained tokens in green, observations in grey and the prompt plain, for a notebook."""
    spans, ids, mask = [], episode.ids(), episode.mask()
    for position, (i, alive) in enumerate(zip(ids, mask, strict=True)):
        style = (
            "background:#c8e6c9" if alive else ("color:#888" if position >= len(episode.prompt_ids) else "")
        )
        spans.append(
            f'<span style="{style};border:1px solid #eee" title="{i}">{escape(codec.token(i))}</span>'
        )
    return f'<div style="font-family:monospace;line-height:1.9">{" ".join(spans)}</div>'
