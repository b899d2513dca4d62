"""Titles, pictures and main pictures that do not fit their product, by the model's features."""

from collections.abc import Collection

import numpy as np

from eclip_mm.audit.features import AuditFeatures
from eclip_mm.audit.issues import Issue
from eclip_mm.audit.ranks import (
    MOST_MISFITS,
    flag_misfits,
    misfit_fraction,
    rank_p_values,
)

#: a picture with a lower p-value fits
FITS = 0.1


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1; zero vectors stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


class Fit:
    """p-values of every picture and product.

    Args:
        features: of the catalogue.
        done: called with the number of pictures and products of each block; there are
            ``2 N + P`` in all.

    Attributes:
        of_title: (P,) the product's own title beside others, for the mean of its pictures.
        to_title: (N,) the same of single pictures.
        to_others: (N,) the mean of the product's other pictures beside other products' pictures;
            NaN for a product's only picture.
        doubts: sentences on what :meth:`issues` does not flag since the model seems to be wrong.
    """

    def __init__(self, features: AuditFeatures, done=lambda count: None) -> None:
        self.features = features
        self.doubts: list[str] = []
        sums, owner = features.means(), features.owner
        counts = np.bincount(owner, minlength=len(sums))
        means = unit(sums)
        some = np.flatnonzero(counts)
        self.of_title = np.full(len(sums), np.nan)
        self.of_title[some] = rank_p_values(
            means[some], some, features.titles, features.categories, done=done
        )
        self.to_title = rank_p_values(
            features.pictures, owner, features.titles, features.categories, done=done
        )
        others = unit(sums[owner] - features.pictures)
        self.to_others = rank_p_values(
            features.pictures, owner, means, features.categories, others, done
        )
        self.to_others[counts[owner] < 2] = np.nan

    def issues(self, known: Collection[tuple[str, int]] = ()) -> list[Issue]:
        """Kinds ``title``, ``odd_picture`` and ``wrong_main``.

        Args:
            known: (product_id, picture) of what is known to be none of the product already.
        """
        flagged = self._flag('titles', self.of_title, self.of_title)
        return [*self._titles(flagged), *self._pictures(flagged, known)]

    def _flag(self, what: str, p_values: np.ndarray, of_all: np.ndarray) -> np.ndarray:
        """Flags of p-values, and a doubt where none is flagged, since too many do not fit.

        Args:
            what: their name.
            p_values: (N,) of those that may be flagged.
            of_all: (N,) the same with those that may not, which tell how good the model is.
        """
        fraction = misfit_fraction(of_all)
        if fraction > MOST_MISFITS:
            self.doubts.append(
                f'An estimated {fraction:.0%} of the {what} do not fit. That is more likely to be '
                f'the model than the catalogue, so none of them is flagged: train the model on '
                f'this catalogue first.'
            )
            return np.zeros(len(p_values), bool)
        return flag_misfits(p_values)

    def _titles(self, flagged: np.ndarray) -> list[Issue]:
        found = []
        for product in np.flatnonzero(self.of_title > FITS):
            p = self.of_title[product]
            found.append(
                Issue(
                    'title',
                    self.features.product_ids[product],
                    label_quality=1 - p,
                    p_value=p,
                    flagged=bool(flagged[product]),
                    fix='exclude' if flagged[product] else None,
                    evidence=f'{p:.0%} of the other titles fit its pictures as well as its own',
                )
            )
        return found

    def _pictures(self, bad_title: np.ndarray, known: Collection) -> list[Issue]:
        """A picture is odd if neither title nor other pictures fit, and most others do."""
        owner = self.features.owner
        # of a single picture the title alone tells, and that is the kind `title`
        misfit = np.fmin(self.to_title, self.to_others)
        misfit[np.isnan(self.to_others)] = np.nan
        of_all = misfit.copy()
        fitting = np.bincount(owner, misfit <= FITS, len(self.features.product_ids))
        counts = np.bincount(owner, minlength=len(fitting))
        misfit[(2 * fitting < counts)[owner] | bad_title[owner]] = np.nan
        names = zip(owner.tolist(), self.features.numbers.tolist(), strict=True)
        ids = self.features.product_ids
        misfit[[(ids[product], number) in known for product, number in names]] = np.nan
        # main pictures are of another kind (a merchant's on white): they are counted by themselves
        is_main = self.features.numbers == 0
        flagged = np.zeros(len(misfit), bool)
        for what, rows in (('main pictures', is_main), ('other pictures', ~is_main)):
            flagged[rows] = self._flag(what, misfit[rows], of_all[rows])
        best = self._best_pictures()
        found = []
        for row in np.flatnonzero(misfit > FITS):
            product, number, p = owner[row], int(self.features.numbers[row]), misfit[row]
            issue = Issue(
                'odd_picture',
                self.features.product_ids[product],
                picture=number,
                label_quality=1 - p,
                p_value=p,
                flagged=bool(flagged[row]),
                fix='exclude' if flagged[row] else None,
                evidence=f'{p:.0%} of the other products fit this picture as well as its own',
            )
            if number == 0 and best[product] not in (-1, row):
                main = int(self.features.numbers[best[product]])
                issue.kind, issue.fix = 'wrong_main', 'main' if flagged[row] else None
                issue.other_picture = main
                issue.evidence += f'; picture {main} fits'
            found.append(issue)
        return found

    def _best_pictures(self) -> np.ndarray:
        """(P,) row of the picture that fits title or other pictures best, -1 where none does."""
        # the mean of the others holds the bad picture itself, so that the title may be enough
        score = np.fmin(self.to_title, self.to_others)
        order = np.lexsort((self.features.numbers, np.nan_to_num(score, nan=1.0)))
        best = np.full(len(self.features.product_ids), -1)
        for row in order[::-1]:
            if score[row] <= FITS:
                best[self.features.owner[row]] = row
        return best
