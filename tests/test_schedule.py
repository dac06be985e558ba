"""The cycle W -> W+ -> W as a function of step, number of styles and budget."""

from itertools import pairwise

import pytest

from cycle_core.errors import InputError
from cycle_core.training.schedule import SCHEDULES, ScheduleSettings, phase_at
from cycle_core.training.settings import EncoderTraining

STEPS = 750_000  # the published run, for 18 styles


@pytest.mark.parametrize(
    ("step", "name", "stage"),
    [
        (0, "w", 0),
        (19_999, "w", 0),
        (20_000, "grow", 1),
        (21_999, "grow", 1),
        (22_000, "grow", 2),
        (52_000, "grow", 17),
        (54_000, "w+", 17),
        (499_999, "w+", 17),
        (500_000, "tighten", 17),
        (645_999, "tighten", 17),
        (646_000, "shrink", 17),
        (649_999, "shrink", 17),
        (650_000, "shrink", 16),
        (710_000, "shrink", 1),
        (713_999, "shrink", 1),
        (714_000, "w", 0),
        (749_999, "w", 0),
    ],
)
def test_published_phases_and_stages(step, name, stage):
    phase = phase_at(step, 18, STEPS)
    assert (phase.name, phase.stage) == (name, stage)


@pytest.mark.parametrize(
    ("step", "times"),
    [(54_000, 0), (499_999, 0), (500_000, 1), (509_999, 1), (510_000, 2), (645_999, 15)],
)
def test_published_weights_tighten_every_10k_steps(step, times):
    phase = phase_at(step, 18, STEPS)
    assert phase.delta == pytest.approx(2e-4 * 1.2**times, rel=1e-12)
    assert phase.adv == pytest.approx(0.1 / 2**times, rel=1e-12)


def test_last_weights_hold_until_the_end():
    tight = phase_at(645_999, 18, STEPS)
    assert phase_at(713_999, 18, STEPS).delta == tight.delta
    assert phase_at(749_999, 18, STEPS).adv == tight.adv


def test_delta_weight_is_on_exactly_where_a_delta_is_active():
    for step in range(5000):
        phase = phase_at(step, 10, 5000)
        assert (phase.delta > 0) == (phase.stage > 0)


@pytest.mark.parametrize("num_ws", [2, 10, 12, 18])
def test_stages_rise_and_fall_one_by_one_with_equal_shares(num_ws):
    steps = 75_000
    stages = [phase_at(step, num_ws, steps).stage for step in range(steps)]
    changes = [b - a for a, b in pairwise(stages) if a != b]
    assert changes == [1] * (num_ws - 1) + [-1] * (num_ws - 1)
    rising = stages[2_000:5_400]
    shares = [rising.count(stage) for stage in range(1, num_ws)]
    assert max(shares) - min(shares) <= 1
    assert sum(shares) == len(rising)


def test_any_length_keeps_the_proportions():
    for step in range(0, STEPS, 1_000):
        assert phase_at(step // 1_000, 18, STEPS // 1_000) == phase_at(step, 18, STEPS)


def test_shortest_cycle_ends_in_w():
    assert phase_at(20, 10, 21).stage == 0
    with pytest.raises(InputError, match="21 or more"):
        phase_at(0, 10, 20)


def test_path_to_w_plus_stays_there_with_the_first_weights():
    e4e = ScheduleSettings(phases="w+")
    for step in (60_000, 550_000, 749_999):
        phase = phase_at(step, 18, STEPS, e4e)
        assert (phase.stage, phase.delta, phase.adv) == (17, 2e-4, 0.1)
    assert phase_at(30_000, 18, STEPS, e4e) == phase_at(30_000, 18, STEPS)


def test_path_w_never_leaves_w():
    only_w = ScheduleSettings(phases="w")
    assert {phase_at(step, 18, 750, only_w).stage for step in range(750)} == {0}


def test_without_tightening_the_stages_are_the_same_and_the_weights_stay():
    loose = ScheduleSettings(delta_factor=1, adv_factor=1)
    for step in range(0, STEPS, 7_000):
        phase = phase_at(step, 18, STEPS, loose)
        assert phase.stage == phase_at(step, 18, STEPS).stage
        assert phase.adv == 0.1
        assert phase.delta in (0.0, 2e-4)


@pytest.mark.parametrize("step", [-1, 100, 101])
def test_step_outside_of_the_run_is_refused(step):
    with pytest.raises(InputError, match="steps 0 to 99"):
        phase_at(step, 10, 100)


@pytest.mark.parametrize("phases", ["e4e", "", "w=0", "w=1.5", "grow=2k,", "w=2k;w+=1k"])
def test_a_schedule_that_is_none_is_refused(phases):
    with pytest.raises(InputError, match=r"cycle, w\+, w"):
        ScheduleSettings(phases=phases)


def test_durations_are_a_schedule():
    published = ScheduleSettings(phases=SCHEDULES["cycle"])
    own = ScheduleSettings(phases="w+=0.3k,w=200,grow=100,shrink=50")
    assert (published.duration, own.duration) == (STEPS, 650)
    assert phase_at(646_000, 18, STEPS, published) == phase_at(646_000, 18, STEPS)
    stages = [phase_at(step, 4, 650, own).stage for step in (0, 299, 300, 500, 599, 600, 649)]
    assert stages == [3, 3, 0, 1, 3, 3, 1]


def test_one_more_schedule_is_one_entry(monkeypatch):
    monkeypatch.setitem(SCHEDULES, "there-and-back", "grow=300,w+=100,shrink=200")
    settings = EncoderTraining(schedule=ScheduleSettings(phases="there-and-back"))
    assert settings.cycle_steps == 600
    assert [phase_at(step, 4, 600, settings.schedule).stage for step in (0, 350, 599)] == [1, 3, 1]
    with pytest.raises(InputError, match=r"w-decay, there-and-back"):
        ScheduleSettings(phases="back")


def test_w_can_be_held_by_the_adversarial_weights_of_the_cycle():
    decay = ScheduleSettings(phases="w-decay")
    for step in range(0, STEPS, 1_000):
        phase = phase_at(step, 18, STEPS, decay)
        assert (phase.stage, phase.delta) == (0, 0.0)
        assert phase.adv == phase_at(step, 18, STEPS).adv


def test_weights_tighten_every_10k_steps_of_the_schedule_whatever_its_other_phases():
    settings = ScheduleSettings(phases="w=4k,grow=8k,w+=8k,tighten=146k")
    last = phase_at(165_999, 18, 166_000, settings)
    assert last.delta == pytest.approx(2e-4 * 1.2**15)
    assert last.adv == pytest.approx(0.1 / 2**15)
