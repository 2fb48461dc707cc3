#!/bin/sh
# Make the clips and the values that tests/unit/features/test_prosody.py compares with. Needs espeak-ng, sox and praat
# (Debian packages; values in the repository: Praat 6.3.07, espeak-ng 1.51).
set -eu
cd "$(dirname "$0")"
speak() { # name voice words-per-minute pitch(0-99) text
    espeak-ng -v "$2" -s "$3" -p "$4" -m --stdout "$5" | sox -t wav - -r 16000 -b 16 -c 1 "prosody_$1.flac" gain -n -3
}
speak low_calm en+m3 130 30 "The door is closed, <break time='600ms'/> and nobody is at home."
speak high_quick en+f2 210 75 "What are you doing here? I told you not to come!"
speak middle_rising en+m1 165 60 "Is it really you? <break time='400ms'/> I can hardly believe it. <break time='500ms'/> Tell me."
praat --run prosody_values.praat "$PWD" > prosody_values.csv
