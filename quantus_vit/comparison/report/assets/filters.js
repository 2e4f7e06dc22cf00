// Which cases are shown, and in which order: numbers from 1, as in links.

export function chosenCases(data, filters) {
  const numbers = data.cases.map((_, index) => index + 1).filter((number) => fits(data.cases[number - 1], filters));
  const key = sortKey(data, filters);
  if (key === null) return numbers;
  return numbers
    .map((number) => [number, key(data.cases[number - 1])])
    .sort(([, a], [, b]) => (a === null) - (b === null) || a - b)
    .map(([number]) => number);
}

function fits(one, filters) {
  if (filters.finding && one.label !== filters.finding) return false;
  if (!filters.prediction) return true;
  const known = one.predictions.filter((prediction) => prediction !== null);
  return known.length > 0 && known.some((prediction) => prediction.correct === (filters.prediction === "right"));
}

// Smaller comes first; null where a case has no score comes last.
function sortKey(data, filters) {
  if (filters.order === "disagreement") {
    return (one) => (one.disagreement === null ? null : -one.disagreement);
  }
  if (filters.order !== "worst" && filters.order !== "best") return null;
  const higher = data.metrics[filters.metric].higher;
  const sign = higher === (filters.order === "best") ? -1 : 1;
  return (one) => {
    const score = one.scores[filters.method][filters.metric];
    return score === null ? null : sign * score;
  };
}
