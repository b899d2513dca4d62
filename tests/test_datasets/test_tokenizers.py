import os
import pickle
import subprocess
import sys

import pytest
import transformers

from eclip_mm.datasets import CatalogueError, build_tokenizer
from eclip_mm.datasets.tokenizers import (
    CatalogueWordPiece,
    JsonTokenizer,
    vocabulary_fingerprint,
)
from eclip_mm.datasets.wordpiece import SPECIAL_TOKENS, train_wordpiece
from eclip_mm.registry import TRANSFORMS
from helpers.catalogues import make_rows, save_bert_tokenizer, write_rows

TEXTS = ['Red mug with a dotted band', 'Blue mug, dotted', 'Red bottle', 'striped bottle 红杯']


@pytest.fixture
def path(tmp_path):
    rows = [dict(row, text=text) for row, text in zip(make_rows(4), TEXTS, strict=True)]
    return write_rows(rows, tmp_path / 'shop.parquet')


def test_catalogue_vocabulary_is_written_once_and_used_again(path):
    cfg = dict(type='CatalogueWordPiece', catalogue=str(path), vocab_size=120)
    tokenizer = build_tokenizer(cfg)
    vocab_file = path.with_name('shop.vocab120.txt')
    words = vocab_file.read_text(encoding='utf-8').splitlines()
    assert words[:5] == list(SPECIAL_TOKENS)
    assert len(words) == len(set(words)) == tokenizer.vocab_size <= 120
    assert tokenizer.pad_token_id == words.index('[PAD]') == 0
    assert {'mug', 'red', 'dotted', 'bottle'} <= set(words)
    ids = tokenizer('A RED dotted mug')
    assert [words[i] for i in ids] == ['[CLS]', 'a', 'red', 'dotted', 'mug', '[SEP]']
    assert tokenizer.decode(tokenizer('Striped bottle')) == 'striped bottle'
    assert [words[i] for i in tokenizer('红杯')] == ['[CLS]', '红', '杯', '[SEP]']
    assert [words[i] for i in tokenizer('ω')] == ['[CLS]', '[UNK]', '[SEP]']
    assert build_tokenizer(dict(cfg)) is tokenizer
    # The file is what counts from now on, even without the catalogue.
    vocab_file.write_text('\n'.join([*SPECIAL_TOKENS, 'mug']) + '\n')
    other = build_tokenizer(dict(type='CatalogueWordPiece', vocab_file=str(vocab_file)))
    assert other('mug') == [2, 5, 3]


def test_same_ids_as_bert_with_the_same_vocabulary(path):
    tokenizer = build_tokenizer(
        dict(type='CatalogueWordPiece', catalogue=str(path), vocab_size=90)
    )
    bert = (
        transformers.BertTokenizerFast(vocab=str(tokenizer.vocab_file))
        if int(transformers.__version__.split('.')[0]) >= 5
        else transformers.BertTokenizerFast(vocab_file=str(tokenizer.vocab_file))
    )
    for text in (*TEXTS, 'Ünseen wörds: mugbottle!', ''):
        assert tokenizer(text) == bert(text)['input_ids']
        assert (
            tokenizer(text, max_length=4) == bert(text, truncation=True, max_length=4)['input_ids']
        )


class TestOlderCatalogue:
    @pytest.fixture
    def warnings(self, monkeypatch):
        """What is logged about a vocabulary."""
        logged = []
        monkeypatch.setattr(
            'eclip_mm.datasets.vocabulary_origin.print_log',
            lambda message, **kwargs: logged.append(message),
        )
        return logged

    @staticmethod
    def write(path, texts):
        rows = [dict(row, text=text) for row, text in zip(make_rows(9), texts, strict=False)]
        write_rows(rows, path)

    def test_new_words_are_counted_and_named(self, path, warnings):
        vocab_file = CatalogueWordPiece(path, 120).vocab_file
        self.write(path, [*TEXTS, 'green kettle', 'green kettle ω', 'one rare word'])
        for _ in range(2):  # until the file is deleted
            CatalogueWordPiece(path, 120)
        first, second = warnings
        assert first == second and f'{vocab_file} was not made from {path} as it is now' in first
        assert '6 of the 18 different words are unknown' in first
        assert '(green, kettle, ω, one, rare, ...)' in first, 'the most frequent first'
        vocab_file.unlink()
        CatalogueWordPiece(path, 120)
        CatalogueWordPiece(path, 120)
        assert len(warnings) == 2

    def test_silent_where_nothing_is_unknown(self, path, warnings):
        CatalogueWordPiece(path, 120)
        CatalogueWordPiece(path, 120)
        self.write(path, TEXTS[::-1])  # another order
        CatalogueWordPiece(path, 120)
        self.write(path, TEXTS[:2])  # fewer texts
        CatalogueWordPiece(path, 120)
        path.unlink()  # the vocabulary is enough
        CatalogueWordPiece(path, 120)
        assert not warnings

    def test_texts_are_read_only_if_the_files_changed(self, path, warnings, monkeypatch):
        CatalogueWordPiece(path, 120)
        monkeypatch.setattr('eclip_mm.datasets.vocabulary_origin.read_catalogue', None)
        CatalogueWordPiece(path, 120)
        os.utime(path, (1, 1))
        with pytest.raises(TypeError):
            CatalogueWordPiece(path, 120)

    def test_vocabulary_of_unknown_origin(self, path, warnings):
        vocab_file = CatalogueWordPiece(path, 120).vocab_file  # then replaced
        words = train_wordpiece(TEXTS[:2], 60)
        vocab_file.write_text('\n'.join(words) + '\n', encoding='utf-8')
        CatalogueWordPiece(path, 60, vocab_file)
        (message,) = warnings
        # of the new words 'bottle', 'striped', '红' and '杯', the letters of 'bottle' are known
        assert '3 of the 12 different words are unknown' in message and '杯' in message


@pytest.mark.slow
def test_training_is_the_same_in_every_process():
    """The library alone gives another vocabulary in every process."""
    program = (
        'from eclip_mm.datasets.wordpiece import train_wordpiece\n'
        'print(train_wordpiece(["abcab abcde cdeab dcbaedc"] * 3 + ["deabc bcdea"], 40))'
    )
    # No PYTHONHASHSEED of ours: every process has its own.
    env = {key: value for key, value in os.environ.items() if key != 'PYTHONHASHSEED'}
    other = subprocess.run(
        [sys.executable, '-c', program], env=env, capture_output=True, text=True, check=True
    ).stdout
    here = train_wordpiece(['abcab abcde cdeab dcbaedc'] * 3 + ['deabc bcdea'], 40)
    assert other == f'{here}\n'
    assert len(here) > 20


def test_vocabulary_by_hand():
    """Characters first, sorted; then the most frequent pair: 'a' + '##b', 4 times."""
    words = train_wordpiece(['ab ab ab', 'ab cb c'], 11)
    assert words == [*SPECIAL_TOKENS, 'a', 'b', 'c', '##b', 'ab']
    with pytest.raises(ValueError, match='give at least 9'):
        train_wordpiece(['ab ab ab', 'ab cb c'], 8)


def test_settings_that_cannot_work(tmp_path):
    with pytest.raises(ValueError, match="give 'catalogue'"):
        build_tokenizer(dict(type='CatalogueWordPiece'))
    with pytest.raises(CatalogueError, match='there is no such vocabulary'):
        build_tokenizer(dict(type='CatalogueWordPiece', vocab_file=str(tmp_path / 'v.txt')))
    with pytest.raises(CatalogueError, match='there is no such catalogue'):
        build_tokenizer(dict(type='CatalogueWordPiece', catalogue=str(tmp_path / 'c.jsonl')))
    with pytest.raises(TypeError, match='vocab_sise'):
        build_tokenizer(dict(type='CatalogueWordPiece', vocab_sise=3))
    (tmp_path / 'v.txt').write_text('mug\n[PAD]\n')
    with pytest.raises(CatalogueError, match=r'v.txt.*\[PAD\]'):
        build_tokenizer(dict(type='CatalogueWordPiece', vocab_file=str(tmp_path / 'v.txt')))


def test_auto_tokenizer_from_a_folder(path, tmp_path):
    vocab = build_tokenizer(dict(type='CatalogueWordPiece', catalogue=str(path), vocab_size=100))
    folder = save_bert_tokenizer(vocab.vocab_file, tmp_path / 'bert')
    tokenizer = build_tokenizer(dict(type='AutoTokenizer', name_or_path=str(folder)))
    assert tokenizer.vocab_size == vocab.vocab_size
    assert tokenizer.pad_token_id == 0
    for text in TEXTS:
        assert tokenizer(text) == vocab(text)
        assert tokenizer(text, max_length=5) == vocab(text, max_length=5)
    assert pickle.loads(pickle.dumps(tokenizer))(TEXTS[0]) == tokenizer(TEXTS[0])


def test_nothing_is_downloaded_by_default(tmp_path, monkeypatch):
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError('tried to reach the network')

    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    with pytest.raises(FileNotFoundError) as error:
        build_tokenizer(dict(type='AutoTokenizer', name_or_path='nobody/no-such-model'))
    assert 'hf download nobody/no-such-model --local-dir models/no-such-model' in str(error.value)
    with pytest.raises(FileNotFoundError, match='is a folder without a tokenizer'):
        build_tokenizer(dict(type='AutoTokenizer', name_or_path=str(tmp_path)))


def test_tokenize_text(path):
    cfg = dict(type='CatalogueWordPiece', catalogue=str(path), vocab_size=120)
    transform = TRANSFORMS.build(dict(type='TokenizeText', tokenizer=cfg, max_length=4))
    results = transform(dict(text='red dotted mug bottle'))
    full = build_tokenizer(cfg)('red dotted mug bottle')
    assert results['input_ids'] == [*full[:3], full[-1]]
    assert results['text'] == 'red dotted mug bottle'
    with pytest.raises(ValueError, match='max_length'):
        TRANSFORMS.build(dict(type='TokenizeText', tokenizer=cfg, max_length=2))
    with pytest.raises(KeyError, match='NoSuchTokenizer'):
        TRANSFORMS.build(dict(type='TokenizeText', tokenizer=dict(type='NoSuchTokenizer')))


@pytest.mark.parametrize('kind', ['catalogue', 'transformers'])
def test_a_tokenizer_comes_back_from_its_json(path, tmp_path, kind):
    tokenizer = build_tokenizer(
        dict(type='CatalogueWordPiece', catalogue=str(path), vocab_size=90)
    )
    if kind == 'transformers':
        folder = save_bert_tokenizer(tokenizer.vocab_file, tmp_path / 'bert')
        tokenizer = build_tokenizer(dict(type='AutoTokenizer', name_or_path=str(folder)))
        tokenizer('red mug', max_length=3)  # the library keeps the truncation of the last call
    other = JsonTokenizer(tokenizer.to_json(), tokenizer.pad_token_id)
    other = pickle.loads(pickle.dumps(other))  # as workers get it
    for text in (*TEXTS, 'Ünseen wörds: mugbottle!', '', 'a [SEP] b'):
        for length in (None, 4, 3, 55):
            assert other(text, max_length=length) == tokenizer(text, max_length=length), text
    assert (other.vocab_size, other.pad_token_id) == (tokenizer.vocab_size, 0)
    assert vocabulary_fingerprint(other) == vocabulary_fingerprint(tokenizer)


def test_the_fingerprint_is_of_words_and_their_ids():
    class Words:
        def __init__(self, **words):
            self.get_vocab = lambda: words

    same = vocabulary_fingerprint(Words(a=0, b=1))
    assert same == vocabulary_fingerprint(Words(b=1, a=0))
    assert same != vocabulary_fingerprint(Words(a=1, b=0))
    assert same != vocabulary_fingerprint(Words(a=0, b=1, c=2))
    assert vocabulary_fingerprint(str.split) is None
