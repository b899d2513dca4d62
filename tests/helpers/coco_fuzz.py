"""Random changes of a sound COCO file, for hypothesis."""

from hypothesis import strategies as st

from helpers.coco_cases import FILES, REMOVED, sound

KEYS = dict(
    images=('id', 'file_name', 'width', 'height'),
    annotations=('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd', 'ignore'),
    categories=('id', 'name', 'supercategory'),
)
numbers = st.one_of(
    st.sampled_from([-1, 0, 0.5, 1, 2, 2.0, 30, 40, 41, 1e-9, 1e308, 2**70, 10**400]),
    st.integers(-50, 50),
    st.floats(),
)
texts = st.one_of(
    st.sampled_from(
        ['', ' ', '1', '2', '007', 'mug', 'none', 'nan', '..', '/', *FILES, 'page.jpg']
    ),
    st.text(st.characters(exclude_categories=()), max_size=6),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=5),
    st.lists(numbers, min_size=4, max_size=4),
    st.dictionaries(texts, scalars, max_size=2),
)


@st.composite
def changed_files(draw) -> dict:
    """A file whose first image, annotation and category are sound, and nothing else need be."""
    data = sound()
    for _ in range(draw(st.integers(1, 4))):
        part = draw(st.sampled_from(list(KEYS)))
        entries = data[part]
        index = draw(st.integers(1, len(entries)))
        if index == len(entries):  # a copy, perhaps of the first
            entry = draw(st.sampled_from(entries))
            entries.append(dict(entry) if isinstance(entry, dict) else entry)
        key = draw(st.sampled_from((*KEYS[part], None)))
        value = draw(st.one_of(st.just(REMOVED), values))
        if key is None or not isinstance(entries[index], dict):
            entries[index] = None if value is REMOVED else value
        elif value is REMOVED:
            entries[index].pop(key, None)
        else:
            entries[index][key] = value
    return data
