"""Whose a notebook is, from folders and from zip files as an LMS exports them."""

from __future__ import annotations

import io
import os
import zipfile

import pytest

from labsupport.errors import LearnerError
from labsupport.grading import submissions


def tree(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")
    return folder


def archive(path, *names, data=b"{}"):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, data)
    return path


def found(*places):
    return submissions.find([str(place) for place in places])[0]


def test_one_folder_for_each_learner(tmp_path):
    tree(tmp_path, "ann/00_start_here.ipynb", "ann/deep/12_work_queues.ipynb", "bob/x.ipynb", "bob/notes.txt")
    tree(tmp_path, "bob/.ipynb_checkpoints/x.ipynb")
    assert [one.learner for one in found(tmp_path)] == ["ann", "ann", "bob"]


def test_one_file_for_each_learner(tmp_path):
    assert [one.learner for one in found(tree(tmp_path, "ann.ipynb", "bob (1).ipynb"))] == ["ann", "bob"]


def test_canvas_names(tmp_path):
    path = archive(
        tmp_path / "c.zip", "doeann_4711_98765_00_start_here.ipynb", "leebob_LATE_4712_98_00_start_here-2.ipynb"
    )
    ann, bob = found(path)
    assert (ann.learner, ann.id, ann.late, ann.attempt[0]) == ("doeann", "4711", False, 0)
    assert (bob.learner, bob.id, bob.late, bob.attempt[0]) == ("leebob", "4712", True, 2)


@pytest.mark.parametrize(
    "name", ["Ann van Dam_17_assignsubmission_file_/a.ipynb", "Ann van Dam_17_assignsubmission_file_a.ipynb"]
)
def test_moodle_names(tmp_path, name):
    (one,) = found(archive(tmp_path / "m.zip", name))
    assert (one.learner, one.id) == ("Ann van Dam", "17") and one.data() == b"{}"


def test_a_zip_file_in_a_zip_file(tmp_path):
    inner = io.BytesIO()
    archive(inner, "work/00_start_here.ipynb", data=b"inner")
    outer = archive(tmp_path / "o.zip", "Ann_17_assignsubmission_file_/all.zip", data=inner.getvalue())
    (one,) = found(outer)
    assert (one.learner, one.data()) == ("Ann", b"inner")


def test_names_that_lead_elsewhere_stay_names(tmp_path):
    (one,) = found(archive(tmp_path / "e.zip", "../../../etc/ann/a.ipynb"))
    assert one.learner == "etc" and one.data() == b"{}"
    assert os.listdir(tmp_path) == ["e.zip"]


def test_what_is_no_zip_file_or_a_link_is_said(tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK")
    (tmp_path / "link.ipynb").symlink_to("/etc/passwd")
    _, problems = submissions.find([str(tmp_path)])
    assert [line.partition(":")[0] for line in problems] == ["broken.zip", "link.ipynb"]


def test_a_file_that_is_far_too_large_is_refused_when_read(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "LARGEST_FILE", 1000)
    (one,) = found(archive(tmp_path / "z.zip", "ann/a.ipynb", data=bytes(2000)))
    with pytest.raises(OSError, match="MB"):
        one.data()


def test_a_place_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(LearnerError, match="no file or folder"):
        found(tmp_path / "nowhere")
