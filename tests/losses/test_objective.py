from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rtvp.losses.assigner import TaskAlignedAssigner, inside_boxes
from rtvp.losses.boxes import complete_iou
from rtvp.losses.objective import (
    detection_losses,
    distribution_focal_loss,
    prompt_losses,
    reconstruction_loss,
)
from rtvp.models.contrastive_head import anchor_grid
from rtvp.types import DetectorOutput, Target

SIZE, BINS = 64, 8
POINTS, STRIDES = anchor_grid([torch.empty(1, 1, SIZE // s, SIZE // s) for s in (8, 16)], (8, 16))
CELLS = len(POINTS)
ASSIGNER = TaskAlignedAssigner()


def make_output(logits: Tensor, distance_logits: Tensor | None = None) -> DetectorOutput:
    """Boxes as the head decodes them: leaves are ``logits`` and ``distance_logits``."""
    if distance_logits is None:
        torch.manual_seed(0)
        distance_logits = torch.randn(len(logits), CELLS, 4, BINS, requires_grad=True)
    ltrb = (distance_logits.softmax(dim=-1) * torch.arange(BINS)).sum(dim=-1) * STRIDES[None, :, None]
    boxes = torch.cat([POINTS - ltrb[..., :2], POINTS + ltrb[..., 2:]], dim=-1)
    return DetectorOutput(boxes, logits, distance_logits, POINTS, STRIDES)


def make_logits(images: int = 1, names: int = 3) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(images, CELLS, names).requires_grad_()


def make_target(*boxes: list[float], names: list[list[bool]] | None = None) -> Target:
    positives = torch.tensor(names) if names else torch.tensor([[True, False, False]]).repeat(len(boxes), 1)
    return Target(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), positives)


def known(images: int = 1, names: int = 3) -> Tensor:
    return torch.ones(images, names, dtype=torch.bool)


def sharp_distances(box: list[float]) -> Tensor:
    """Distance logits of every cell: their mean is the distance to ``box``, where that fits the bins."""
    target = torch.tensor(box)
    ltrb = torch.cat([POINTS - target[:2], target[2:] - POINTS], dim=1) / STRIDES[:, None]
    ltrb = ltrb.clamp(0, BINS - 1.01)
    low, share = ltrb.long(), ltrb - ltrb.long()
    spread = torch.zeros(CELLS, 4, BINS).scatter_(2, low[..., None], (1 - share)[..., None])
    spread = spread.scatter_add_(2, low[..., None] + 1, share[..., None])
    return spread.clamp(min=1e-9).log()[None]


class TestDetectionLosses:
    def test_terms_follow_their_formulas(self) -> None:
        """Against the same sums in loops, on a batch of an image with two boxes and one with none."""
        logits = make_logits(images=2)
        output = make_output(logits)
        targets = [
            make_target([4, 4, 40, 30], [30, 30, 60, 60], names=[[True, False, False], [False, True, True]]),
            make_target(),
        ]
        terms = detection_losses(output, targets, known(2), ASSIGNER)
        classification = box = distance = total = 0.0
        for b, target in enumerate(targets):
            scores = logits[b].detach().sigmoid()
            assigned = ASSIGNER(scores, output.boxes_xyxy[b].detach(), POINTS, STRIDES, target)
            for a in range(CELLS):
                owner, quality = int(assigned.box[a]), float(assigned.quality[a])
                total += quality
                for k in range(3):
                    wanted = quality if owner >= 0 and target.positives[owner, k] else 0.0
                    p = float(scores[a, k])
                    classification -= wanted * math.log(p) + (1 - wanted) * math.log(1 - p)
                if owner >= 0:
                    truth = target.boxes_xyxy[owner]
                    box += quality * float(1 - complete_iou(output.boxes_xyxy[b, a].detach(), truth))
                    ltrb = torch.cat([POINTS[a] - truth[:2], truth[2:] - POINTS[a]]) / STRIDES[a]
                    focal = distribution_focal_loss(output.distance_logits[b, a : a + 1], ltrb[None])
                    distance += quality * float(focal.detach())
        assert total > 1
        for name, value in (("classification", classification), ("box", box), ("distance", distance)):
            torch.testing.assert_close(
                terms[name].detach(), torch.tensor(value / total), rtol=1e-4, atol=1e-5
            )

    def test_a_perfect_prediction_costs_next_to_nothing(self) -> None:
        box = [8.0, 16, 40, 48]
        inside = inside_boxes(POINTS, torch.tensor([box]))[0]
        distances = sharp_distances(box)
        logits = torch.full((1, CELLS, 3), -12.0)
        logits[0, inside, 0] = 12.0
        assigner = TaskAlignedAssigner(top_k=CELLS)  # as many as lie inside
        terms = detection_losses(make_output(logits, distances), [make_target(box)], known(), assigner)
        assert terms["box"] < 1e-3
        assert terms["classification"] < 1e-2
        assert terms["distance"] < 0.7  # the entropy of a distance between two bins is left
        worse = detection_losses(
            make_output(-logits, distances + torch.randn_like(distances) * 9),
            [make_target(box)],
            known(),
            assigner,
        )
        assert all(worse[name] > terms[name] for name in terms)

    def test_the_names_of_a_box_are_known_where_it_is(self) -> None:
        """A pasted defect bears a name that the picture's labels do not speak of."""
        logits = make_logits()
        target = make_target([4, 4, 40, 30], names=[[True, True, False]])
        annotated = torch.tensor([[True, False, False]])
        detection_losses(make_output(logits), [target], annotated, ASSIGNER)["classification"].backward()
        assert logits.grad is not None
        reached = (logits.grad[0] != 0).sum(dim=0)
        assert reached[0] == CELLS and 0 < reached[1] <= ASSIGNER.top_k and reached[2] == 0
        assert (logits.grad[0, :, 1] <= 0).sum() > 0

    def test_unannotated_names_have_no_gradient_at_all(self) -> None:
        logits = make_logits(images=2)
        annotated = torch.tensor([[True, False, True], [False, True, True]])
        targets = [make_target([4, 4, 40, 30]), make_target()]
        terms = detection_losses(make_output(logits), targets, annotated, ASSIGNER)
        (gradient,) = torch.autograd.grad(terms["classification"], logits)
        reached = gradient.abs().amax(dim=1) > 0
        assert torch.equal(reached, annotated)

    def test_every_name_of_a_box_is_a_positive(self) -> None:
        logits = torch.full((1, CELLS, 3), -4.0, requires_grad=True)
        target = make_target([4, 4, 40, 30], names=[[True, False, True]])
        output = make_output(logits, sharp_distances([4, 4, 40, 30]))
        terms = detection_losses(output, [target], known(), ASSIGNER)
        (gradient,) = torch.autograd.grad(terms["classification"], logits)
        assigned = ASSIGNER(logits[0].detach().sigmoid(), output.boxes_xyxy[0], POINTS, STRIDES, target)
        owned = (assigned.box >= 0) & (assigned.quality > 0.5)
        assert owned.sum() > 3
        assert (gradient[0, owned][:, [0, 2]] < 0).all()
        assert (gradient[0, owned, 1] > 0).all()
        assert (gradient[0, assigned.box < 0] > 0).all()

    def test_a_box_with_several_names_weighs_as_one(self) -> None:
        one = make_target([4, 4, 40, 30], names=[[True, False, False]])
        all_three = make_target([4, 4, 40, 30], names=[[True, True, True]])
        output = make_output(torch.zeros(1, CELLS, 3))
        first, second = (detection_losses(output, [t], known(), ASSIGNER) for t in (one, all_three))
        torch.testing.assert_close(first["box"], second["box"])
        torch.testing.assert_close(first["distance"], second["distance"])

    @pytest.mark.parametrize("names", [0, 3])
    def test_nothing_to_find(self, names: int) -> None:
        """No box in the batch; or no name at all, as when none of the batch is a class of the expert."""
        logits = make_logits(2, names)
        box = [] if names else [[0.0, 0, 32, 32]]
        target = Target(torch.tensor(box).reshape(-1, 4), torch.zeros(len(box), names, dtype=torch.bool))
        terms = detection_losses(make_output(logits), [target] * 2, known(2, names), ASSIGNER)
        assert set(terms) == {"classification", "box", "distance"}
        assert terms["box"] == terms["distance"] == 0
        sum(terms.values()).backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
        assert (logits.grad > 0).all()  # every score is to fall

    def test_gradient_reaches_boxes_of_assigned_cells_only(self) -> None:
        output = make_output(make_logits())
        target = make_target([4, 4, 40, 30])
        terms = detection_losses(output, [target], known(), ASSIGNER)
        (gradient,) = torch.autograd.grad(terms["box"] + terms["distance"], output.distance_logits)
        assigned = ASSIGNER(
            output.logits[0].detach().sigmoid(), output.boxes_xyxy[0].detach(), POINTS, STRIDES, target
        )
        assert torch.equal(gradient[0].abs().amax(dim=(1, 2)) > 0, assigned.box >= 0)


class TestDistributionFocalLoss:
    @pytest.mark.parametrize("distance", [0.0, 0.25, 3.0, 5.5, 6.9])
    def test_cross_entropy_against_the_two_bins_around(self, distance: float) -> None:
        torch.manual_seed(0)
        logits = torch.randn(1, 4, BINS)
        low = math.floor(distance)
        log_probability = logits[0].log_softmax(dim=-1)
        each = (low + 1 - distance) * log_probability[:, low] + (distance - low) * log_probability[:, low + 1]
        expected = -each.mean()
        torch.testing.assert_close(distribution_focal_loss(logits, torch.full((1, 4), distance))[0], expected)

    def test_distances_outside_the_bins_take_the_end_bin(self) -> None:
        torch.manual_seed(0)
        logits = torch.randn(3, 4, BINS)
        for outside, inside in ((-3.0, 0.0), (50.0, BINS - 1 - 0.01), (float(BINS - 1), BINS - 1 - 0.01)):
            torch.testing.assert_close(
                distribution_focal_loss(logits, torch.full((3, 4), outside)),
                distribution_focal_loss(logits, torch.full((3, 4), inside)),
            )

    def test_the_minimum_has_the_distance_as_its_mean(self) -> None:
        logits = torch.zeros(1, 4, BINS, requires_grad=True)
        wanted = torch.tensor([[0.0, 1.3, 2.5, 6.8]])
        optimizer = torch.optim.Adam([logits], lr=0.2)
        for _ in range(300):
            optimizer.zero_grad()
            distribution_focal_loss(logits, wanted).sum().backward()
            optimizer.step()
        mean = (logits.softmax(dim=-1) * torch.arange(BINS)).sum(dim=-1)
        torch.testing.assert_close(mean.detach(), wanted, rtol=0, atol=0.05)


class TestReconstructionLoss:
    @staticmethod
    def make_levels(*sides: int, seed: int = 0) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(2, 5, side, side + 1, generator=generator) for side in sides]

    @staticmethod
    def normalised(feature: Tensor) -> Tensor:
        flat = feature.transpose(0, 1).flatten(1)
        mean, deviation = flat.mean(dim=1), flat.std(dim=1, correction=0)
        return (feature - mean.view(1, -1, 1, 1)) / deviation.view(1, -1, 1, 1)

    def test_zero_for_the_normalised_feature(self) -> None:
        expert = self.make_levels(8, 4)
        assert reconstruction_loss(expert, [self.normalised(level) for level in expert]) < 1e-8
        assert reconstruction_loss(expert, [torch.zeros_like(level) for level in expert]) > 1.9

    def test_scale_and_offset_of_the_experts_channels_do_not_matter(self) -> None:
        expert, found = self.make_levels(8, 4), self.make_levels(8, 4, seed=1)
        scale = torch.tensor([0.1, 1, 3, 50, 7]).view(1, -1, 1, 1)
        changed = [level * scale + 9 * scale.flip(1) for level in expert]
        torch.testing.assert_close(
            reconstruction_loss(changed, found), reconstruction_loss(expert, found), rtol=1e-3, atol=1e-4
        )

    def test_levels_weigh_the_same_whatever_their_size(self) -> None:
        expert = self.make_levels(16, 4, 2)
        for wrong in range(3):
            found = [self.normalised(level) + 2.0 * (i == wrong) for i, level in enumerate(expert)]
            torch.testing.assert_close(
                reconstruction_loss(expert, found), torch.tensor(4.0), rtol=1e-3, atol=1e-3
            )

    def test_a_channel_that_never_changes_asks_for_zero(self) -> None:
        expert = [torch.full((1, 5, 4, 4), 3.0)]
        assert reconstruction_loss(expert, [torch.zeros(1, 5, 4, 4)]) == 0

    def test_the_expert_is_not_taught(self) -> None:
        expert = [level.requires_grad_() for level in self.make_levels(8, 4)]
        found = [level.requires_grad_() for level in self.make_levels(8, 4, seed=1)]
        reconstruction_loss(expert, found).backward()
        assert all(level.grad is None for level in expert)
        assert all(level.grad is not None and level.grad.abs().max() > 0 for level in found)

    def test_all_pairs_compares_every_level_with_every_level(self) -> None:
        expert, found = self.make_levels(8, 4), self.make_levels(8, 4, seed=1)

        def distance(source: Tensor, level: Tensor) -> Tensor:
            resized = F.interpolate(source, size=level.shape[2:], mode="bilinear", align_corners=False)
            return (level - self.normalised(resized)).square().mean()

        expected = sum(distance(source, level) for source in expert for level in found) / 2
        torch.testing.assert_close(
            reconstruction_loss(expert, found, all_pairs=True), expected, rtol=1e-3, atol=1e-3
        )
        alone = reconstruction_loss(expert[:1], found[:1])
        torch.testing.assert_close(reconstruction_loss(expert[:1], found[:1], all_pairs=True), alone)

    def test_levels_of_other_sizes_are_resized(self) -> None:
        loss = reconstruction_loss(self.make_levels(8), self.make_levels(4))
        assert loss.isfinite()


class TestPromptLosses:
    """Two images of 4 x 4 cells of 8 px; boxes of the auxiliary head are 16 px squares around the cells."""

    points, _ = anchor_grid([torch.empty(1, 1, 4, 4)], (8,))

    def make_boxes(self, images: int = 1) -> Tensor:
        boxes = torch.cat([self.points - 8, self.points + 8], dim=1)
        return boxes.repeat(images, 1, 1).requires_grad_()

    def test_scores_fall_outside_rise_at_kept_cells_and_rest_elsewhere(self) -> None:
        scores = torch.full((1, 16), 0.2, requires_grad=True)
        masks = torch.zeros(1, 16)
        masks[0, [5, 15]] = 1  # one in the box, one outside
        boxes = self.make_boxes()
        target = make_target([2, 2, 18, 18])  # the cells 0, 1, 4, 5
        terms = prompt_losses(boxes, [scores], masks, self.points, [target])
        (gradient,) = torch.autograd.grad(terms["prompt_score"], scores)
        inside = torch.zeros(16, dtype=torch.bool)
        inside[[0, 1, 4, 5]] = True
        assert (gradient[0, inside] < 0).all() and (gradient[0, ~inside] > 0).all()
        (on_boxes,) = torch.autograd.grad(terms["prompt_box"], boxes)
        assert (on_boxes[0].abs().amax(dim=1) > 0).nonzero().flatten().tolist() == [5]
        torch.testing.assert_close(terms["prompt_box"], 1 - complete_iou(boxes[0, 5], target.boxes_xyxy[0]))

    def test_cells_in_boxes_weigh_as_much_as_all_others_in_every_level(self) -> None:
        levels = [torch.full((2, 16), 0.4, requires_grad=True), torch.full((2, 4), 0.4, requires_grad=True)]
        points = torch.cat([self.points, torch.tensor([[8.0, 8.0], [24.0, 8.0], [8.0, 24.0], [24.0, 24.0]])])
        targets = [make_target([2, 2, 18, 18]), make_target()]
        boxes = torch.zeros(2, 20, 4)
        terms = prompt_losses(boxes, levels, torch.ones(2, 20), points, targets)
        entropy = -(0.5 * math.log(0.4) + 0.5 * math.log(0.6)), -0.5 * math.log(0.6)
        assert float(terms["prompt_score"].detach()) == pytest.approx(sum(entropy) / 2)
        for level, inside in zip(
            torch.autograd.grad(terms["prompt_score"], levels), ([0, 1, 4, 5], [0]), strict=True
        ):
            pulled = -level[0, inside].sum() * 0.4
            assert pulled == pytest.approx(float(level[0].clamp(min=0).sum()) * 0.6)
            assert (level[1] > 0).all()  # a good image pulls down alone

    def test_a_score_that_knows_the_boxes_costs_nothing(self) -> None:
        exact = torch.zeros(1, 16)
        exact[0, [0, 1, 4, 5]] = 1
        target = make_target([2, 2, 18, 18])
        terms = prompt_losses(self.make_boxes(), [exact], torch.ones(1, 16), self.points, [target])
        assert terms["prompt_score"] == 0

    def test_a_cell_in_several_boxes_learns_the_smallest(self) -> None:
        masks = torch.zeros(1, 16)
        masks[0, 5] = 1
        small, large = [2.0, 2, 18, 18], [0.0, 0, 32, 32]
        for target in (make_target(small, large), make_target(large, small)):
            terms = prompt_losses(self.make_boxes(), [torch.full((1, 16), 0.5)], masks, self.points, [target])
            expected = 1 - complete_iou(self.make_boxes()[0, 5], torch.tensor(small))
            torch.testing.assert_close(terms["prompt_box"], expected)

    def test_divided_by_the_kept_cells_in_boxes(self) -> None:
        scores, masks = torch.full((2, 16), 0.5), torch.ones(2, 16)
        target = make_target([2, 2, 18, 18])
        boxes = self.make_boxes(2)
        one = prompt_losses(boxes[:1], [scores[:1]], masks[:1], self.points, [target])
        two = prompt_losses(boxes, [scores], masks, self.points, [target, target])
        for name in one:
            torch.testing.assert_close(one[name], two[name])
        hit = complete_iou(boxes[0, [0, 1, 4, 5]], target.boxes_xyxy)
        torch.testing.assert_close(one["prompt_box"], (1 - hit).mean())

    @pytest.mark.parametrize(
        "target", [make_target(), make_target([2, 2, 18, 18])], ids=["no box", "nothing kept"]
    )
    def test_without_supervision_the_box_term_is_zero(self, target: Target) -> None:
        boxes, scores = self.make_boxes(), torch.full((1, 16), 0.3, requires_grad=True)
        terms = prompt_losses(boxes, [scores], torch.zeros(1, 16), self.points, [target])
        assert terms["prompt_box"] == 0
        sum(terms.values()).backward()
        assert boxes.grad is not None
        assert (boxes.grad == 0).all()
        assert scores.grad is not None
        assert scores.grad.isfinite().all() and (scores.grad != 0).all()

    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    def test_mixed_precision(self, device: str) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        scores = torch.rand(1, 16, device=device).bfloat16().requires_grad_()
        masks = torch.ones(1, 16, device=device, dtype=torch.bfloat16)
        target = Target(torch.tensor([[2.0, 2, 18, 18]], device=device), torch.ones(1, 1, dtype=torch.bool))
        with torch.autocast(device, dtype=torch.bfloat16):
            terms = prompt_losses(
                self.make_boxes().to(device), [scores], masks, self.points.to(device), [target]
            )
        assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())
        sum(terms.values()).backward()
        assert scores.grad.isfinite().all()
