"""
Each pair of mechanisms at work on one session: search, silence, replay, hedging, a lower tier.

Together they must not keep a client longer than it has patience: from its request to its first byte or a refusal
nothing waits longer than 13 s. Sessions run from end to end here, through `pipsocks.gateway.session.connect`, over
exits that are scripted, on a fake clock.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.rig import ANSWER, GOOD, HANGS, NEVER, SILENT, Does, Rig, fails

LONGEST = 13.0


class PairTests(SynchronousTestCase):
    """One test for each pair."""

    def see(self, rig: Rig, what: str, at: float, asked: list[tuple[str, float]] | None = None) -> None:
        """The client's wait ends so, then, at most 13 s after its request."""
        rig.run()
        self.assertEqual(rig.ended, (what, at), rig.asked)
        self.assertLessEqual(at, LONGEST)
        if asked is not None:
            self.assertEqual(rig.asked, asked)
        if what == "first byte":
            self.assertEqual(rig.near.transport.written, ANSWER)
            self.assertEqual([each[0] for each in rig.told].count("yes"), 1)

    def test_searchAndSilence(self) -> None:
        """A search that had to go on beside a hanging exit ends at a silent one; after 4 s another has the flight."""
        rig = Rig([{"a": HANGS, "b": SILENT, "c": GOOD}])
        self.see(rig, "first byte", 6.667, [("a", 0.0), ("b", 2.667), ("c", 6.667)])

    def test_searchAndSilenceLate(self) -> None:
        """Where the search took so long that 4 s of silence end behind the tenth second, none begins any more."""
        rig = Rig([{"a": Does(after=6.5, speaks=5.5), "b": HANGS}])
        self.see(rig, "first byte", 12.0, [("a", 0.0), ("b", 4.0)])

    def test_searchAndReplay(self) -> None:
        """Two exits time out, the third says yes and dies: the fourth, which had failed nobody, has the flight."""
        rig = Rig([{"a": fails(3.0, "PS-UP03"), "b": fails(3.0), "c": Does(dies=0.5, speaks=NEVER), "d": GOOD}])
        self.see(rig, "first byte", 4.5, [("a", 0.0), ("b", 2.0), ("c", 4.0), ("d", 4.5)])

    def test_searchAndReplayLatest(self) -> None:
        """The longest wait: a yes after 7.9 s that dies at 9.9 s, and another search of 3 s that finds nobody."""
        rig = Rig([{"a": Does(after=7.9, dies=2.0, speaks=NEVER), "b": HANGS}])
        self.see(rig, "end", 12.9)

    def test_searchAndReplayTooLate(self) -> None:
        """Dying later than that is passed on at once."""
        rig = Rig([{"a": Does(after=7.9, dies=2.2, speaks=NEVER), "b": [HANGS, GOOD]}])
        self.see(rig, "end", 10.1)

    def test_searchAndHedging(self) -> None:
        """A slow exit is hedged, the hedge is slow as well: the search still ends with its deadline."""
        rig = Rig([{"a": HANGS, "b": HANGS, "c": HANGS}], hedge=True)
        rig.pace(0.5, "a", "b", "c")
        self.see(rig, "PS-UP22", 8.0, [("a", 0.0), ("b", 0.5), ("c", 4.25)])

    def test_searchAndTier(self) -> None:
        """Both of the first tier fail in their time; the lower tier has what is left of the 8 s."""
        rig = Rig([{"a": fails(6.0), "b": fails(3.0)}, {"x": GOOD}])
        self.see(rig, "first byte", 7.0, [("a", 0.0), ("b", 4.0), ("x", 7.0)])
        rig = Rig([{"a": fails(6.0), "b": fails(3.0)}, {"x": HANGS}])
        self.see(rig, "PS-UP09", 8.0, [("a", 0.0), ("b", 4.0), ("x", 7.0)])

    def test_silenceAndReplay(self) -> None:
        """A silent exit is replaced after 4 s, and its successor, which dies, at once."""
        rig = Rig([{"a": SILENT, "b": Does(dies=1.0, speaks=NEVER), "c": GOOD}])
        self.see(rig, "first byte", 5.0, [("a", 0.0), ("b", 4.0), ("c", 5.0)])

    def test_silenceTwice(self) -> None:
        """Two silent ones cost 8 s; a third would be past the tenth second, and is waited for."""
        rig = Rig([{"a": SILENT, "b": SILENT, "c": Does(speaks=4.5), "d": GOOD}])
        self.see(rig, "first byte", 12.5, [("a", 0.0), ("b", 4.0), ("c", 8.0)])

    def test_silenceAndHedging(self) -> None:
        """The hedge wins and is silent; in the search for another way there is hedging too."""
        rig = Rig([{"a": HANGS, "b": SILENT, "c": HANGS, "d": GOOD}], hedge=True)
        rig.pace(0.5, "a", "b", "c", "d")
        self.see(rig, "first byte", 5.0, [("a", 0.0), ("b", 0.5), ("c", 4.5), ("d", 5.0)])

    def test_silenceAndTier(self) -> None:
        """With nobody else in the first tier the lower one has the flight after 4 s."""
        rig = Rig([{"a": SILENT}, {"x": GOOD}])
        self.see(rig, "first byte", 4.0, [("a", 0.0), ("x", 4.0)])

    def test_replayAndHedging(self) -> None:
        """A replay's search is hedged where its exit is slow."""
        rig = Rig([{"a": Does(dies=1.0, speaks=NEVER), "b": HANGS, "c": GOOD}], hedge=True)
        rig.pace(0.3, "a", "b", "c")
        self.see(rig, "first byte", 1.3, [("a", 0.0), ("b", 1.0), ("c", 1.3)])

    def test_replayAndTier(self) -> None:
        """When the flight has died on the whole first tier, the lower one has it."""
        dying = Does(dies=0.5, speaks=NEVER)
        rig = Rig([{"a": dying, "b": dying}, {"x": GOOD}])
        self.see(rig, "first byte", 1.0, [("a", 0.0), ("b", 0.5), ("x", 1.0)])

    def test_replayAndDirectTier(self) -> None:
        """So has a direct way there, but not once an exit refused the destination."""
        dying = Does(dies=0.5, speaks=NEVER)
        rig = Rig([{"a": dying}, {"direct": GOOD}])
        self.see(rig, "first byte", 0.5, [("a", 0.0), ("direct", 0.5)])
        rig = Rig([{"a": dying, "b": fails(0.0, "PS-UP11")}, {"direct": GOOD}])
        rig.run()
        self.assertNotIn("direct", [name for name, _ in rig.asked])

    def test_hedgingAndTier(self) -> None:
        """A slow exit that is alone in its tier is not hedged with one of a lower tier, which waits for its failure."""
        rig = Rig([{"a": fails(3.0)}, {"x": HANGS, "y": GOOD}], hedge=True)
        rig.pace(0.5, "a", "x", "y")
        self.see(rig, "first byte", 3.5, [("a", 0.0), ("x", 3.0), ("y", 3.5)])


TIMES = st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, 2.9, 3.0, 3.5, 4.0, 4.5, 6.0, 7.9, 9.9])
DOINGS = st.one_of(
    st.just(HANGS),
    st.builds(
        Does, after=TIMES, code=st.sampled_from(["PS-UP02", "PS-UP06", "PS-UP14", "PS-UP20", "PS-UP11", "PS-UP10"])
    ),
    st.builds(Does, after=TIMES, dies=TIMES, speaks=st.just(NEVER)),
    st.builds(Does, after=TIMES, speaks=st.one_of(st.just(NEVER), TIMES)),
)
TIERS = st.lists(st.lists(st.lists(DOINGS, min_size=1, max_size=3), min_size=1, max_size=4), min_size=1, max_size=2)


class AnyTests(SynchronousTestCase):
    """All of them together, at random."""

    @given(TIERS, st.booleans(), st.booleans())
    @settings(deadline=None, max_examples=300)
    def test_thirteenSeconds(self, tiers: list[list[list[Does]]], hedge: bool, lastDirect: bool) -> None:
        """
        13 s after its request a client has its first byte, a refusal, or the exit's end; or it was told yes by an exit
        that is merely silent, which is for it to wait for: nothing of ours is under way for it any more.
        """
        names = iter("abcdefghij")
        named: list[dict[str, Any]] = [{next(names): does for does in tier} for tier in tiers]
        if lastDirect:
            named[-1]["direct"] = [GOOD]
        rig = Rig(named, hedge)
        rig.pace(0.5, *rig.exits)
        rig.run(LONGEST)
        told = [what for what, _ in rig.told]
        self.assertLessEqual(told.count("yes"), 1)
        self.assertNotIn("PS-SV02", told)
        self.assertTrue(rig.ended is not None or rig.relay.joined, rig.told)
        self.assertLessEqual(len(rig.asked), 8 + 4 * 8)
        self.assertLessEqual(rig.gateway.counts.replays, 4)
        if rig.ended is not None and rig.ended[0].startswith("PS-"):
            self.assertLessEqual(rig.ended[1], 8.0)
        late = [stream for stream in rig.streams if not stream.wire.lost]
        self.assertLessEqual(len(late), 1)  # each exit that lost was let go
        later = [call for call in rig.clock.getDelayedCalls() if not any(call in each.calls for each in late)]
        self.assertEqual(later, [])
