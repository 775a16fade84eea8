from __future__ import annotations

from pathlib import Path

import pytest

from rtvp.mmio.groups import GroupRule, assign_groups, group_of, split_class_number


@pytest.mark.parametrize(
    ("path", "rule", "group"),
    [
        ("IMAGES/crazing_1.jpg", "stem", "crazing_1"),
        ("kos03/Part7.jpg", "folder", "kos03"),
        ("test/crack/001.png", "folder_stem", "crack/001"),
        ("hole04_png.rf.6d1894512609edb9bc41ca64ddf9a2dc.jpg", "roboflow", "hole04_png"),
        ("sample10_crack_e8d55fc6315ca36308d5f76df78d6d84.jpg", "roboflow", "sample10_crack"),
        ("Peeling_20_jpg.jpg", "roboflow", "Peeling_20_jpg"),
        ("SampleV2_2_mp4-96_jpg.rf.3c9aea3fe5b22082162c5e020ed4c9b4.jpg", "video", "SampleV2"),
        ("SampleV2_1_mp4-3_jpg.rf.560802847cc80d0c3f98b589913648c0.jpg", "video", "SampleV2"),
        ("bad_weld_vid282_jpeg_jpg.rf.f1ab7871565d470f35111fcf0bcee841.jpg", "video", "bad_weld_vid"),
        ("good-tig-welds_10_jpeg_jpg.rf.12a3d0aeff281761b3906e191d4348f8.jpg", "video", None),
        ("manipulated_front_12.png", "mvtec_number", "manipulated_front_12"),
        ("hflipped_manipulated_front_12.png", "mvtec_number", "manipulated_front_12"),
        ("rotated_30_scratch_head_11.png", "mvtec_number", "scratch_head_11"),
        ("barrdistorted_1001_0.3_0.3_crack_16.png", "mvtec_number", "crack_16"),
        ("deformed_alpha_1300_sigmoid_7_broken_teeth_6.png", "mvtec_number", "broken_teeth_6"),
        ("unnumbered.png", "mvtec_number", "unnumbered"),
        ("00041/00041000_test.jpg", "pcb_pair", "00041000"),
        ("00041/00041000_temp.jpg", "pcb_pair", "00041000"),
        ("images/Missing_hole/01_missing_hole_03.jpg", "board", "01"),
    ],
)
def test_group_of(path: str, rule: GroupRule, group: str | None) -> None:
    assert group_of(Path(path), rule) == (group or "good-tig-welds_10_jpeg_jpg")


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("wringle_54", ("wringle", "54")),
        ("vflipped_hflipped_thread_side_4", ("thread_side", "4")),
        ("crack", None),
        ("12", None),
    ],
)
def test_split_class_number(stem: str, expected: tuple[str, str] | None) -> None:
    assert split_class_number(stem) == expected


def test_exposures_of_one_part_are_chained_across_folders() -> None:
    names = ["A/exp1_num_6984", "A/exp2_num_7009", "B/exp6_num_7102", "A/exp1_num_9473", "B/exp2_num_9496"]
    paths = [Path(f"{name}.jpg") for name in names]
    groups = assign_groups(paths, "exposure_series")
    assert groups[paths[0]] == groups[paths[1]] == groups[paths[2]]
    assert groups[paths[3]] == groups[paths[4]] != groups[paths[0]]
    assert assign_groups(paths[::-1], "exposure_series") == groups
    assert assign_groups([Path("odd.jpg")], "exposure_series") == {Path("odd.jpg"): "odd"}
