"""A live chart looks by itself, keeps a bounded number of looks, says everything in words, and ends with its broker."""

from __future__ import annotations

import re
import threading
import time

import pika

from labsupport import LiveChart, RabbitMQ
from labsupport.view import live_chart, live_picture


class Tank:
    """Something with a gauge."""

    title, nodes = "Tank", ("tank-0",)

    def __init__(self) -> None:
        self.level = 0

    def gauge(self, what, group):
        return self.look

    def look(self):
        return {"full": self.level, "<empty>": 9 - self.level}


def until(condition, what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.01)


def test_it_looks_by_itself_until_it_is_closed_and_all_forms_say_the_same(monkeypatch):
    monkeypatch.setattr(live_picture, "LOOK_S", 0.001)
    tank = Tank()
    with LiveChart(tank, "water") as chart:
        until(lambda: chart.looks, "a look")
        tank.level = 7
        chart.mark("a <leak>")
        until(lambda: chart.looks[-1][1]["full"] == 7, "another look")
        tank.level = 5
    ended = len(chart.looks)
    assert chart.looks[-1][1]["full"] == 5  # it looks once more at the end
    assert "5 full (at most 7), 4 <empty> (at most 9)" in chart.text() and "a <leak>" in chart.text()
    page = chart.page()
    for told in ("5 full", "4 &lt;empty&gt;", "a &lt;leak&gt;", 'role="img"', "The same as a table"):
        assert told in page
    assert "<leak>" not in page and "<empty>" not in page
    time.sleep(0.02)
    assert len(chart.looks) == ended


def test_a_long_watch_keeps_a_bounded_number_of_looks_over_its_whole_time(monkeypatch):
    monkeypatch.setattr(live_picture, "LOOK_S", 0.0001)
    monkeypatch.setattr(live_chart, "MOST_LOOKS", 20)
    with LiveChart(Tank(), "water") as chart:
        until(lambda: chart._every >= 8, "looks to be forgotten")
    assert len(chart.looks) <= 20 and chart.looks[0][0] < chart.looks[-1][0] / 4


def test_what_is_shown_is_drawn_anew_and_ends_with_its_table(monkeypatch):
    shown = []

    class Handle:
        def update(self, bundle, raw):
            shown.append(bundle)

    monkeypatch.setattr("IPython.display.display", lambda bundle, raw, display_id: shown.append(bundle) or Handle())
    with LiveChart(Tank(), "water") as chart:
        chart._ipython_display_()
        until(lambda: len(shown) > 3, "some pictures")
    assert "<details>" not in shown[1]["text/html"] and "<details>" in shown[-1]["text/html"]
    assert shown[-1]["text/plain"] == chart.text()


def test_names_at_the_ends_of_lines_never_stand_on_each_other():
    places = live_chart._ends([100.0, 100.0, 101.0, 30.0])
    assert places == [100.0, 113.0, 126.0, 30.0]


def test_a_chart_of_a_real_queue_shows_its_jobs_and_ends_when_the_broker_does():
    before = set(threading.enumerate())
    with RabbitMQ() as rabbit, pika.BlockingConnection(pika.URLParameters(rabbit.url)) as connection:
        channel = connection.channel()
        channel.queue_declare("jobs")
        channel.basic_publish("", "jobs", b"one")
        chart = LiveChart(rabbit, "jobs")
        until(lambda: chart.looks and chart.looks[-1][1] == {"ready": 1, "unacked": 0, "redelivered": 0}, "the job")
    until(lambda: not chart._thread.is_alive(), "the chart to notice the end")
    until(lambda: set(threading.enumerate()) <= before, "its threads to end")
    assert re.search(r"^RabbitMQ · jobs after \d+\.\d s: ", chart.summary)
