"""The list of certificates: what is written is read again, and every host gets the right one."""

from hypothesis import given
from hypothesis import strategies as st

from lifecycle.deploy.gateway import listing
from lifecycle.deploy.gateway.listing import Entry

_HOSTS = ["a.example.com", "b.example.com", "*.example.com", "example.com", "x.org"]
_FOLDER = "/g/certificates"


@st.composite
def _entries(draw: st.DrawFn) -> dict[str, Entry]:
    names = draw(st.lists(st.sampled_from(_HOSTS), unique=True))
    return {
        name: Entry(
            name,
            draw(st.integers(0, 3)),
            f"{draw(st.integers(0, 3)):016x}",
            tuple(dict.fromkeys([name, *draw(st.lists(st.sampled_from(_HOSTS), max_size=3))])),
        )
        for name in names
    }


@given(_entries())
def test_what_is_written_is_read_again(entries: dict[str, Entry]) -> None:
    """Nothing of a certificate's place in the list is lost on the way through the file."""
    assert listing.parse(listing.render(entries, _FOLDER)) == entries


@given(_entries(), _entries())
def test_a_change_is_cut_into_the_text(former: dict[str, Entry], later: dict[str, Entry]) -> None:
    """A list that was changed in place says the same as one that was written anew."""
    names = former.keys() | later.keys()
    touched = [
        name
        for name in names
        if former.get(name) != later.get(name)
        or listing.offered(former[name], former) != listing.offered(later[name], later)
    ]
    text = listing.revised(listing.render(former, _FOLDER), former, later, touched, _FOLDER)

    assert set(text.splitlines()) == set(listing.render(later, _FOLDER).splitlines())
    assert listing.parse(text) == later
    assert listing.parse(listing.revised("nonsense\n", former, later, touched, _FOLDER)).keys() <= later.keys()


@given(_entries())
def test_no_host_has_two_certificates_when_one_is_its_own(entries: dict[str, Entry]) -> None:
    """A host with a certificate of its own is offered by that one alone, and no name is lost by it."""
    offers = {name: listing.offered(entry, entries) for name, entry in entries.items()}

    for name, entry in entries.items():
        assert [other for other, names in offers.items() if name in names] == [name]
        assert set(offers[name]) <= set(entry.names)
    assert {name for entry in entries.values() for name in entry.names} == {
        name for names in offers.values() for name in names
    }


def test_a_file_is_named_after_all_that_is_in_it() -> None:
    """Another text, another version, or other names make another file, and never a name that is too long."""
    one = Entry("*.example.com", 1, "", ("*.example.com", "a.example.com"))
    alone = {one.name: one}
    beside = {**alone, "a.example.com": Entry("a.example.com", 1, "", ("a.example.com",))}
    sealed = [
        listing.sealed(one, alone, "text"),
        listing.sealed(one, alone, "other text"),
        listing.sealed(one, beside, "text"),
        listing.sealed(one._replace(names=("*.example.com",)), alone, "text"),
        listing.sealed(one._replace(version=2), alone, "text"),
    ]

    assert len({entry.file for entry in sealed}) == len(sealed)
    assert listing.name_and_version(f"/g/certificates/{sealed[4].file}") == ("*.example.com", "2")
    assert listing.name_and_version("/somewhere/x.pem") == ("/somewhere/x.pem", "something")
    assert len(Entry("a" * 253, (1 << 53) - 1, "f" * 16, ("a" * 253,)).file) < 255


def test_a_list_in_a_foreign_hand_is_read() -> None:
    """Lines that mean nothing to us are left out, whatever they are."""
    good = Entry("a.example.com", 3, "0" * 16, ("a.example.com",))
    text = listing.render({good.name: good}, _FOLDER)

    assert listing.parse(f"\n# note\n#: half 1\n\0\n{text}/x.pem y\n") == {good.name: good}
