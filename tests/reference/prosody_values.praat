# Measures of prosody by Praat alone, for tests/unit/features/test_prosody.py.
# praat --run prosody_values.praat FOLDER   prints one line of comma-separated values per FLAC file.
form Measure
    sentence Folder .
endform

floor_1 = 60
ceiling_1 = 700
full_scale_db = 20 * log10 (1 / 0.00002)

writeInfoLine: "name,praat_version,voiced_share,pitch_median_hz,pitch_range_semitones,pitch_slope_semitones_per_s,",
... "intensity_mean_dbfs,intensity_range_db,jitter_local_percent,shimmer_local_percent,harmonics_to_noise_db,",
... "formant_1_hz,formant_2_hz,formant_3_hz,spectral_tilt_db_per_octave,n_syllables,speaking_rate_syllables_per_s,",
... "articulation_rate_syllables_per_s,n_pauses,pause_share,pause_mean_s"

files = Create Strings as file list: "files", folder$ + "/prosody_*.flac"
n_files = Get number of strings
for i_file to n_files
    selectObject: files
    file$ = Get string: i_file
    sound = Read from file: folder$ + "/" + file$
    duration = Get total duration

    # Pitch in two passes.
    first = To Pitch (ac): 0.01, floor_1, 15, "no", 0.03, 0.45, 0.01, 0.35, 0.14, ceiling_1
    q1 = Get quantile: 0, 0, 0.25, "Hertz"
    q3 = Get quantile: 0, 0, 0.75, "Hertz"
    floor = max (0.75 * q1, floor_1)
    ceiling = min (2.5 * q3, ceiling_1)
    selectObject: sound
    pitch = To Pitch (ac): 0.01, floor, 15, "no", 0.03, 0.45, 0.01, 0.35, 0.14, ceiling
    n_frames = Get number of frames
    n_voiced = Count voiced frames
    voiced_share = n_voiced / n_frames
    median = Get quantile: 0, 0, 0.5, "Hertz"
    low = Get quantile: 0, 0, 0.05, "semitones re 100 Hz"
    high = Get quantile: 0, 0, 0.95, "semitones re 100 Hz"
    range = high - low

    # Slope by the sums of least squares; intensity and formants at the voiced frames meanwhile.
    selectObject: sound
    intensity = To Intensity: 50, 0.01, "yes"
    mean_db = Get mean: 0, 0, "energy"
    n_values = Get number of frames
    first_t = Get time from frame number: 1
    last_t = Get time from frame number: n_values
    selectObject: sound
    formant = To Formant (burg): 0, 5, 5500, 0.025, 50
    db_table = Create Table with column names: "intensity", 0, "value"
    for i to 3
        f_table'i' = Create Table with column names: "formant", 0, "value"
    endfor
    sum_t = 0
    sum_s = 0
    sum_tt = 0
    sum_ts = 0
    for i_frame to n_frames
        selectObject: pitch
        semitones = Get value in frame: i_frame, "semitones re 100 Hz"
        if semitones <> undefined
            t = Get time from frame number: i_frame
            sum_t += t
            sum_s += semitones
            sum_tt += t * t
            sum_ts += t * semitones
            selectObject: intensity
            # The first and last 64 ms have no intensity of their own.
            db = Get value at time: min (max (t, first_t), last_t), "linear"
            selectObject: db_table
            Append row
            row = Get number of rows
            Set numeric value: row, "value", db
            for i to 3
                selectObject: formant
                f = Get value at time: i, t, "hertz", "Linear"
                if f <> undefined
                    selectObject: f_table'i'
                    Append row
                    row = Get number of rows
                    Set numeric value: row, "value", f
                endif
            endfor
        endif
    endfor
    slope = (n_voiced * sum_ts - sum_t * sum_s) / (n_voiced * sum_tt - sum_t * sum_t)
    selectObject: db_table
    db_high = Get quantile: "value", 0.95
    db_low = Get quantile: "value", 0.05
    for i to 3
        selectObject: f_table'i'
        f'i'_median = Get quantile: "value", 0.5
    endfor

    # Voice quality.
    selectObject: sound, pitch
    pulses = To PointProcess (cc)
    jitter = Get jitter (local): 0, 0, 0.0001, 0.02, 1.3
    selectObject: sound, pulses
    shimmer = Get shimmer (local): 0, 0, 0.0001, 0.02, 1.3, 1.6
    selectObject: sound
    harmonicity = To Harmonicity (cc): 0.01, floor, 0.1, 1
    hnr = Get mean: 0, 0

    # Tilt of the voiced stretches; Praat's report is in dB per decade.
    selectObject: pulses
    vuv = To TextGrid (vuv): 0.02, 0.01
    selectObject: sound, vuv
    Extract intervals where: 1, "no", "is equal to", "V"
    voiced_sound = Concatenate
    ltas = To Ltas: 100
    report$ = Report spectral tilt: 100, 5000, "Logarithmic", "Least squares"
    tilt = extractNumber (report$, "Slope: ") * log10 (2)

    # Pauses.
    selectObject: intensity
    max_db = Get maximum: 0, 0, "none"
    q99 = Get quantile: 0, 0, 0.99
    threshold = q99 - 25
    silences = To TextGrid (silences): threshold - max_db, 0.25, 0.1, "silent", "sounding"
    n_intervals = Get number of intervals: 1
    silent = 0
    paused = 0
    n_pauses = 0
    for i to n_intervals
        label$ = Get label of interval: 1, i
        if label$ = "silent"
            start = Get start time of interval: 1, i
            end = Get end time of interval: 1, i
            silent += end - start
            if i > 1 and i < n_intervals
                n_pauses += 1
                paused += end - start
            endif
        endif
    endfor

    # Syllable nuclei after de Jong & Wempe (2009): peaks of intensity, each 2 dB above the dip before it, and voiced.
    # The first peak needs no dip.
    selectObject: intensity
    n_syllables = 0
    dip = -1000
    for i to n_values
        v = Get value in frame: i
        if i > 1 and i < n_values
            before = Get value in frame: i - 1
            after = Get value in frame: i + 1
            if v > before and v >= after and v > threshold
                if v - dip >= 2
                    t = Get time from frame number: i
                    selectObject: pitch
                    f0 = Get value at time: t, "Hertz", "linear"
                    if f0 <> undefined
                        n_syllables += 1
                    endif
                    selectObject: intensity
                endif
                dip = v
            endif
        endif
        dip = min (dip, v)
    endfor

    pause_mean$ = ""
    if n_pauses > 0
        pause_mean$ = fixed$ (paused / n_pauses, 6)
    endif
    appendInfoLine: file$ - ".flac", ",", praatVersion$, ",", fixed$ (voiced_share, 6), ",", fixed$ (median, 4), ",",
    ... fixed$ (range, 5), ",", fixed$ (slope, 5), ",", fixed$ (mean_db - full_scale_db, 5), ",",
    ... fixed$ (db_high - db_low, 5), ",", fixed$ (100 * jitter, 6), ",", fixed$ (100 * shimmer, 6), ",",
    ... fixed$ (hnr, 5), ",", fixed$ (f1_median, 3), ",", fixed$ (f2_median, 3), ",", fixed$ (f3_median, 3), ",",
    ... fixed$ (tilt, 5), ",", n_syllables, ",", fixed$ (n_syllables / duration, 6), ",",
    ... fixed$ (n_syllables / (duration - silent), 6), ",", n_pauses, ",", fixed$ (paused / duration, 6), ",", pause_mean$
endfor
