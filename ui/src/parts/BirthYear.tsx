import { useId } from "preact/hooks";
import { grown } from "../talk/begin";

interface Props {
  label: string;
  year: string;
  born: (year: string) => void;
  required: boolean;
  why?: string;
}

/** Whether these digits are a year, and one in which nobody was born who may talk here. */
export const young = (year: string): boolean => /^\d{4}$/.test(year) && !grown(Number(year));

/** Asks for the year of birth, and says at once what it means to be under age. */
export function BirthYear({ label, year, born, required, why = "" }: Props) {
  const hint = useId();
  const said = young(year) ? TOO_YOUNG : why;
  return (
    <>
      <label class="born">
        <span>{label}</span>
        <input
          type="text"
          inputMode="numeric"
          autocomplete="bday-year"
          pattern="(19|20)[0-9]{2}"
          title="Four digits, such as 1990"
          maxLength={4}
          required={required}
          value={year}
          aria-describedby={said ? hint : undefined}
          onInput={(event) => born(event.currentTarget.value)}
        />
      </label>
      {said && (
        <p id={hint} class="hint" role={young(year) ? "alert" : undefined}>
          {said}
        </p>
      )}
    </>
  );
}

const TOO_YOUNG =
  "This place is for grown-ups, from 18 on. Please tell the dream to somebody you trust; the help lines are there for you, too.";
