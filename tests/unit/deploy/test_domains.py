"""The names of deployments and custom domains: what they look like, and that no two things get one name."""

import re
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lifecycle.deploy import domains
from lifecycle.deploy.domains import Kind, Name
from lifecycle.errors import Code, LifecycleError
from tests.support.profiles import QUICK

APEX = "apps.example.net"
SHA = "abc1234def5678900000000000000000000000aa"
LONG = "feature/the-very-long-name-of-a-branch-that-says-everything-about-itself"
HASH = "[a-f][0-9a-f]{7}"
LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"


class Order(NamedTuple):
    """What names are made from."""

    project: str = "prj_1"
    slug: str = "shop"
    workspace: str = "acme"
    environment: str = "production"
    branch: str | None = "main"
    commit_sha: str | None = SHA
    deployment: str = "dep_1"

    def names(self) -> tuple[Name, ...]:
        """All its names."""
        return domains.generated(**self._asdict(), apex=APEX)

    def name(self, kind: Kind) -> Name:
        """Its name of one kind."""
        return next(one for one in self.names() if one.kind is kind)

    def label(self, kind: Kind) -> str:
        """The first label of its name of one kind."""
        return _label(self.name(kind).hostname)

    def made_from(self, name: Name) -> tuple[str, ...]:
        """Everything that the hostname stands for."""
        commit = (self.commit_sha or "").lower() or f"none, {self.deployment}"
        subject = {Kind.COMMIT: commit, Kind.BRANCH: self.branch or ""}.get(name.kind, self.environment)
        return (name.kind, self.slug, self.workspace, subject)

    def documented(self, name: Name) -> str:
        """Its label, as the design has it."""
        words = {
            Kind.COMMIT: ("git", (self.commit_sha or "")[:7].lower()),
            Kind.BRANCH: ("git", self.branch or ""),
            Kind.ENVIRONMENT: (self.environment,),
        }.get(name.kind, ())
        return "-".join((self.slug, *words, self.workspace))


def _label(hostname: str) -> str:
    return hostname.removesuffix(f".{APEX}")


_words = st.sampled_from(("foo", "bar", "git", "production", "main", "x"))
_joined = st.lists(_words, min_size=1, max_size=3).map("-".join)
_close = st.text(alphabet="ab-/_.É", min_size=1, max_size=4)
_texts = st.one_of(_joined, _close, st.text(max_size=90))
_shas = st.sampled_from((SHA, SHA.upper(), f"{SHA[:7]}{'0' * 33}"))
ORDERS = st.builds(
    Order,
    project=st.sampled_from(("prj_1", "prj_2")),
    slug=st.one_of(_joined, st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True), _texts),
    workspace=_texts,
    environment=st.sampled_from(("production", "preview")),
    branch=st.one_of(st.none(), st.sampled_from((SHA[:7], LONG)), _texts),
    commit_sha=st.one_of(st.none(), _shas, st.from_regex("[0-9a-f]{40}", fullmatch=True), _texts),
    deployment=st.sampled_from(("dep_1", "dep_2")),
)


def test_simple_names_are_as_documented() -> None:
    """A plain project, branch and workspace give names that anybody could have guessed."""
    assert [(one.kind, one.hostname, one.sticky) for one in Order().names()] == [
        (Kind.COMMIT, "shop-git-abc1234-acme.apps.example.net", "dep_1"),
        (Kind.BRANCH, "shop-git-main-acme.apps.example.net", "main"),
        (Kind.ENVIRONMENT, "shop-production-acme.apps.example.net", "production"),
        (Kind.LIVE, "shop-acme.apps.example.net", "production"),
    ]
    preview = Order(environment="preview", branch="release-20261121", workspace="my-team-2")
    labels = [_label(one.hostname) for one in preview.names()]
    assert labels == ["shop-git-abc1234-my-team-2", "shop-git-release-20261121-my-team-2", "shop-preview-my-team-2"]


def test_names_stay_as_they_are_through_releases() -> None:
    """An upgrade of Lifecycle renames nothing: bookmarks of hashed names go on working too."""
    order = Order(branch=LONG, workspace="Acme & Söhne", commit_sha=None)

    assert [(_label(one.hostname), _label(one.alternative)) for one in order.names()] == [
        ("shop-a0504334-acme-sohne", "shop-b79d7988-acme-sohne"),
        (
            "shop-git-feature-the-very-long-name-of-a-br-b3bc78a3-acme-sohne",
            "shop-git-feature-the-very-long-name-of-a-br-d125e4be-acme-sohne",
        ),
        ("shop-production-f8b49bc1-acme-sohne", "shop-production-d5697e6c-acme-sohne"),
        ("shop-c10b6d37-acme-sohne", "shop-c6561455-acme-sohne"),
    ]


@QUICK
@given(ORDERS)
@example(Order(branch="a-" * 60))
@example(Order(workspace="ww" + "-w" * 30))
def test_every_name_is_a_host_name(order: Order) -> None:
    """Whatever projects, branches and workspaces are called, the DNS, browsers and certificates take the names."""
    for hostname in (hostname for one in order.names() for hostname in (one.hostname, one.alternative)):
        assert hostname.endswith(f".{APEX}")
        assert re.fullmatch(LABEL, _label(hostname))
        assert "--" not in hostname
        assert not domains.is_local(hostname, apex=APEX)


@QUICK
@given(ORDERS)
def test_a_project_made_anew_has_its_old_names(order: Order) -> None:
    """Names follow from what is known of a deployment, so asked again the answer is the same."""
    assert [one.hostname for one in order._replace(project="prj_9").names()] == [one.hostname for one in order.names()]


@QUICK
@given(ORDERS, ORDERS)
def test_no_two_things_want_one_name_unless_it_spells_both(one: Order, other: Order) -> None:
    """Two names are the same only when the documented form of both is, letter by letter."""
    for mine in one.names():
        for yours in other.names():
            if one.made_from(mine) == other.made_from(yours):
                assert mine.hostname == yours.hostname
            elif mine.hostname == yours.hostname:
                assert _label(mine.hostname) == one.documented(mine) == other.documented(yours)


@QUICK
@given(ORDERS, ORDERS)
def test_within_a_project_no_two_things_want_one_name(one: Order, other: Order) -> None:
    """In one project, only deployments whose commits begin alike ever want the same hostname."""
    other = other._replace(project=one.project, slug=one.slug, workspace=one.workspace)
    for mine in one.names():
        for yours in other.names():
            if one.made_from(mine) != other.made_from(yours) and mine.hostname == yours.hostname:
                assert (mine.kind, yours.kind) == (Kind.COMMIT, Kind.COMMIT)
                assert (one.commit_sha or "")[:7].lower() == (other.commit_sha or "")[:7].lower()


@QUICK
@given(ORDERS, ORDERS)
def test_whoever_comes_second_has_a_name_of_its_own(one: Order, other: Order) -> None:
    """When a name is taken there is another one, which nobody else has or wants."""
    for mine in one.names():
        assert mine.alternative not in {name.hostname for order in (one, other) for name in order.names()}
        for yours in other.names():
            me, you = (one.project, mine.sticky), (other.project, yours.sticky)
            same = (*me, *one.made_from(mine)) == (*you, *other.made_from(yours))
            assert (mine.alternative == yours.alternative) is same


@QUICK
@given(st.lists(st.sampled_from(("foo", "bar", "git", "x")), min_size=3, max_size=8), st.data())
def test_words_that_join_alike_can_be_told_apart(words: list[str], data: st.DataObject) -> None:
    """Wherever the line between project and workspace is, both projects get a name."""
    cuts = data.draw(st.lists(st.integers(1, len(words) - 1), min_size=2, max_size=2, unique=True))
    one, other = (Order(slug="-".join(words[:cut]), workspace="-".join(words[cut:])).name(Kind.LIVE) for cut in cuts)

    assert one.hostname == other.hostname
    assert one.alternative != other.alternative


def test_another_tenants_name_is_not_wanted_twice() -> None:
    """Bug 13: `foo` of `bar-qux` and `foo-bar` of `qux` were given one name, and the later took it over.

    Here the later has a name of its own to go to.
    """
    one, other = Order(slug="foo", workspace="bar-qux"), Order("prj_2", slug="foo-bar", workspace="qux")

    assert one.name(Kind.LIVE).hostname == other.name(Kind.LIVE).hostname == f"foo-bar-qux.{APEX}"
    assert re.fullmatch(f"foo-{HASH}-bar-qux", _label(one.name(Kind.LIVE).alternative))
    assert re.fullmatch(f"foo-bar-{HASH}-qux", _label(other.name(Kind.LIVE).alternative))


def test_a_project_called_like_another_ones_environment_has_a_name() -> None:
    """Weakness of §4, in one workspace: `shop-production` going live must not take production of `shop`."""
    shop, other = Order(), Order("prj_2", slug="shop-production")

    assert shop.name(Kind.ENVIRONMENT).hostname == other.name(Kind.LIVE).hostname
    assert shop.name(Kind.ENVIRONMENT).alternative != other.name(Kind.LIVE).alternative


def test_a_second_deployment_of_a_commit_does_not_move_its_name() -> None:
    """Weakness of §4: a link to what a commit looked like then showed something else after a redeploy.

    The second deployment of the commit has a name that no other deployment has.
    """
    first, second = Order().name(Kind.COMMIT), Order(deployment="dep_2").name(Kind.COMMIT)

    assert first.hostname == second.hostname
    assert first.sticky != second.sticky
    assert first.alternative != second.alternative
    assert re.fullmatch(f"shop-git-abc1234-{HASH}-acme", _label(second.alternative))


@pytest.mark.parametrize("commit_sha", [None, ""])
def test_a_deployment_without_a_commit_has_a_name_of_its_own(commit_sha: str | None) -> None:
    """Deploying an image without git also gives an address that shows this deployment for ever."""
    labels = {Order(commit_sha=commit_sha, deployment=f"dep_{one}").label(Kind.COMMIT) for one in range(100)}

    assert len(labels) == 100
    assert all(re.fullmatch(f"shop-{HASH}-acme", one) for one in labels)


@pytest.mark.parametrize("commit_sha", ["abc123", "main123", "v1.0", "日本", f"{SHA}!", "abc1234" * 10])
def test_what_is_no_commit_does_not_look_like_one(commit_sha: str) -> None:
    """A tag sent as the commit still gives a usable name, and not that of a branch or commit."""
    assert re.fullmatch(f"shop-git-(?:[a-z0-9-]+-)?{HASH}-acme", Order(commit_sha=commit_sha).label(Kind.COMMIT))


@pytest.mark.parametrize("commit_sha", [SHA, SHA.upper(), SHA[:7]])
def test_a_branch_named_like_a_commit_has_another_name(commit_sha: str) -> None:
    """Weakness of §4: pushing a branch `abc1234` took the name of commit abc1234."""
    order = Order(branch="abc1234", commit_sha=commit_sha)

    assert order.label(Kind.COMMIT) == "shop-git-abc1234-acme"
    assert re.fullmatch(f"shop-git-abc1234-{HASH}-acme", order.label(Kind.BRANCH))


def test_branches_that_look_alike_have_different_names() -> None:
    """Weakness of §4: `feat/a-b` and `feat-a/b` shared one preview, and the last push won."""
    branches = ["feat/a-b", "feat-a/b", "feat-a-b", "Feat-a-b", "feat_a_b", "feat--a-b", "feat-a-b-", "féat-a-b"]
    labels = [Order(branch=one).label(Kind.BRANCH) for one in branches]

    assert len(set(labels)) == len(branches)
    assert labels[2] == "shop-git-feat-a-b-acme"
    assert all(re.fullmatch(f"shop-git-feat-a-b-{HASH}-acme", one) for one in labels[:2] + labels[3:])


@pytest.mark.parametrize("branch", ["日本語", "---", "🚀", "/", "\u0301"])
def test_a_branch_without_a_latin_letter_has_a_name(branch: str) -> None:
    """Weakness of §4: such a branch gave `shop-git--acme`, the same for all of them."""
    assert re.fullmatch(f"shop-git-{HASH}-acme", Order(branch=branch).label(Kind.BRANCH))
    assert Order(branch=branch).label(Kind.BRANCH) != Order(branch=f"{branch}!").label(Kind.BRANCH)


def test_without_a_branch_there_is_no_branch_name() -> None:
    """What was not given is not made up."""
    for order in (Order(branch=None), Order(branch="")):
        assert [one.kind for one in order.names()] == [Kind.COMMIT, Kind.ENVIRONMENT, Kind.LIVE]


def test_long_branches_are_cut_and_still_told_apart() -> None:
    """Weakness of §4: names over 63 characters, which the DNS does not take; cut ones that become the same."""
    one, other = Order(branch=f"{LONG}-1").label(Kind.BRANCH), Order(branch=f"{LONG}-2").label(Kind.BRANCH)

    assert one != other
    assert re.fullmatch(f"shop-git-feature-the-very-long-name-of-a-branch-t-{HASH}-acme", one)
    assert len(one) <= 63


@pytest.mark.parametrize(("length", "kept"), [(1, 1), (45, 45), (46, 45), (200, 45)])
def test_the_workspace_is_cut_last(length: int, kept: int) -> None:
    """In a name that was cut one still sees whose it is."""
    label = Order(slug="s" * 40, workspace="w" * length, branch=LONG).label(Kind.BRANCH)
    assert re.fullmatch(f"s{{8,40}}(?:-git-feat.*)?-{HASH}-w{{{kept}}}", label)


def test_a_label_of_63_characters_is_not_cut() -> None:
    """What just fits stays readable; one more is too long."""
    fits = Order(branch="b" * (63 - len("shop-git--acme")))

    assert fits.label(Kind.BRANCH) == f"shop-git-{fits.branch}-acme"
    assert re.fullmatch(f"shop-git-b+-{HASH}-acme", fits._replace(branch=f"{fits.branch}b").label(Kind.BRANCH))


@pytest.mark.parametrize("slug", ["xn--shop", "ab--c"])
def test_no_name_is_taken_for_an_encoded_one(slug: str) -> None:
    """A browser must not show letters for a name that only looks encoded, and a CA must not refuse it."""
    assert re.fullmatch(f"{slug.replace('--', '-')}-{HASH}-acme", Order(slug=slug).label(Kind.LIVE))


def test_nobody_can_call_a_branch_like_a_hash() -> None:
    """A branch that spells out the hashed name of another one gets a hash itself."""
    branch = Order(branch="feat/x").label(Kind.BRANCH).removeprefix("shop-git-").removesuffix("-acme")
    assert re.fullmatch(f"shop-git-feat-x-{HASH}-{HASH}-acme", Order(branch=branch).label(Kind.BRANCH))


def test_a_pin_holds_every_name_that_follows_what_is_live() -> None:
    """Bug 0: after a rollback the next deploy took the generated live and environment names back.

    What a pin holds is said once: all but the names of one commit or branch, whether generated or custom.
    """
    assert {kind for kind in Kind if kind.follows_live} == {Kind.ENVIRONMENT, Kind.LIVE, Kind.CUSTOM}


@pytest.mark.parametrize("hostname", ["LOCALHOST.", "a.localhost", "127.0.0.1", "::1", "[::1]", "a.local", "a.b.test"])
def test_a_local_name_is_local(hostname: str) -> None:
    """Names that lead to one's own machine are not routed."""
    assert domains.is_local(hostname, apex=APEX)


@pytest.mark.parametrize("hostname", ["example.com", "localhost.example.com", "local.net", "mylocal", "10.0.0.1", ""])
def test_other_names_are_not_local(hostname: str) -> None:
    """Only whole last labels count."""
    assert not domains.is_local(hostname, apex=APEX)


@pytest.mark.parametrize("apex", ["localhost", "apps.test", "Lifecycle.Local."])
def test_names_below_the_apex_are_routed_even_on_a_laptop(apex: str) -> None:
    """With `localhost` as the apex, deployments can be reached; `localhost` itself stays local."""
    assert not domains.is_local(f"shop-acme.{apex}", apex=apex)
    assert domains.is_local(apex, apex=apex)
    assert domains.is_local(f"not{apex}" if "." in apex else "a.test", apex=apex)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("example.com", "example.com"),
        ("  Shop.Example.COM.\n", "shop.example.com"),
        ("MÜNCHEN.de", "xn--mnchen-3ya.de"),
        ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("日本。jp", "xn--wgv71a.jp"),
        ("1.2.3.4.example", "1.2.3.4.example"),
        (f"{'a' * 63}.com", f"{'a' * 63}.com"),
        (f"{'.'.join(['a' * 63] * 3)}.{'b' * 57}.com", f"{'.'.join(['a' * 63] * 3)}.{'b' * 57}.com"),
        ("myapps.example.net", "myapps.example.net"),
    ],
)
def test_a_custom_domain_is_taken_as_people_write_it(text: str, domain: str) -> None:
    """Capitals, umlauts and a dot at the end are fine; stored is what the DNS knows."""
    assert domains.custom(text, apex=APEX) == domain


@pytest.mark.parametrize(
    ("problem", "texts"),
    [
        ("it is empty", ("", "  ")),
        ("empty label", (".", "a..com", "a.com..")),
        ("only one part", ("com", "com.")),
        ("only the host name", ("https://a.com/", "a.com:8080", "me@a.com", "a.com?b", "a.com#b")),
        ("wildcards", ("*.example.com", "*")),
        ("IP address", ("192.0.2.1", "192.0.2.1.", "192.0.2", "0x7f.1", "127.0x1", "::1", "[2001:db8::1]", "7")),
        ("IP address", ("\uff11\uff12\uff17.0.0.1",)),
        ("not allowed", ("_dmarc.example.com", "a b.com", "a\x00.com", "☃.net", "xn--a.com")),
        ("hyphen", ("-a.com", "a-.com", "ab--cd.com")),
        ("too long", (f"{'a' * 64}.com", f"{'.'.join(['a' * 63] * 3)}.{'b' * 58}.com", "a." * 9999)),
    ],
)
def test_what_is_no_domain_is_refused_with_the_reason(problem: str, texts: tuple[str, ...]) -> None:
    """Whoever mistypes a domain is told what is wrong with it, in a sentence that can be read."""
    for text in texts:
        with pytest.raises(LifecycleError) as refusal:
            domains.custom(text, apex=APEX)

        assert refusal.value.code is Code.DOMAIN_INVALID
        assert refusal.value.params["field"] == "domain"
        assert problem.lower() in refusal.value.params["problem"].lower()
        assert len(str(refusal.value)) < 700


OURS = (APEX, f"shop-acme.{APEX.upper()}.", f"a.b.{APEX}")
NOBODYS = ("localhost", "a.localhost", "nas.local", "a.test", "a.invalid", "a.onion", "a.internal", "1.in-addr.arpa")


@pytest.mark.parametrize("text", [*OURS, *NOBODYS])
def test_a_domain_that_is_ours_or_nobodys_is_refused(text: str) -> None:
    """Nobody takes a name of the platform as a custom domain, or one that can have no owner."""
    with pytest.raises(LifecycleError) as refusal:
        domains.custom(text, apex=APEX)

    assert refusal.value.code is Code.DOMAIN_RESERVED


@QUICK
@given(st.one_of(st.text(), st.text().map("xn--{}.com".format), st.text(max_size=20).map("{}.example.com".format)))
def test_any_text_is_a_domain_or_refused(text: str) -> None:
    """Whatever is typed, the answer is a domain that means the same when it is typed again, or a refusal."""
    answer = _custom(text)

    if isinstance(answer, LifecycleError):
        assert answer.code in {Code.DOMAIN_INVALID, Code.DOMAIN_RESERVED}
        assert str(answer).isprintable()
    else:
        assert _custom(answer) == answer
        assert all(re.fullmatch(LABEL, label) for label in answer.split("."))
        assert len(answer) <= 253


def _custom(text: str) -> str | LifecycleError:
    try:
        return domains.custom(text, apex=APEX)
    except LifecycleError as refusal:
        return refusal
