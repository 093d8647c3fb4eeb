-- The sample school of `backup_system.py demo`: the same rows on every run and on PostgreSQL 14 to 18.
-- psql -v students=860 -f school.sql, into an empty database

CREATE TYPE userrole AS ENUM ('admin', 'director', 'teacher', 'comedor');
CREATE TYPE justificationtype AS ENUM ('absence', 'tardiness', 'early_dismissal');
CREATE TYPE justificationstatus AS ENUM ('pending', 'approved', 'rejected');
CREATE TABLE schools (
    id SERIAL PRIMARY KEY, name VARCHAR(200) NOT NULL UNIQUE, address VARCHAR(300), contact_email VARCHAR(200),
    timezone VARCHAR(50) NOT NULL DEFAULT 'Europe/Madrid', is_active BOOLEAN NOT NULL DEFAULT true,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now());
CREATE TABLE users (
    id SERIAL PRIMARY KEY, username VARCHAR(100) NOT NULL, email VARCHAR(200) NOT NULL, full_name VARCHAR(200) NOT NULL,
    hashed_password VARCHAR(200) NOT NULL, role userrole NOT NULL DEFAULT 'teacher',
    school_id INTEGER REFERENCES schools (id), is_active BOOLEAN NOT NULL DEFAULT true,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now());
CREATE UNIQUE INDEX ix_users_username ON users (username);
CREATE UNIQUE INDEX ix_users_email ON users (email);
CREATE TABLE teacher_class_assignments (
    id SERIAL PRIMARY KEY, teacher_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    class_name VARCHAR(50) NOT NULL, CONSTRAINT uq_teacher_class UNIQUE (teacher_id, class_name));
CREATE TABLE students (
    id SERIAL PRIMARY KEY, student_id VARCHAR(50) NOT NULL, name VARCHAR(200) NOT NULL,
    class_name VARCHAR(50) NOT NULL, parent_email VARCHAR(200) NOT NULL,
    school_id INTEGER NOT NULL REFERENCES schools (id), qr_code_path VARCHAR(500),
    is_active BOOLEAN NOT NULL DEFAULT true, created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now());
CREATE UNIQUE INDEX ix_students_student_id ON students (student_id);
CREATE INDEX ix_students_class_name ON students (class_name);
CREATE INDEX ix_students_school_id ON students (school_id);
CREATE TABLE checkins (
    id SERIAL PRIMARY KEY, student_id INTEGER NOT NULL REFERENCES students (id),
    checkin_time TIMESTAMP WITHOUT TIME ZONE NOT NULL, checkout_time TIMESTAMP WITHOUT TIME ZONE,
    is_late BOOLEAN NOT NULL DEFAULT false, email_sent BOOLEAN NOT NULL DEFAULT false);
CREATE INDEX ix_checkins_student_id ON checkins (student_id);
CREATE INDEX ix_checkins_checkin_time ON checkins (checkin_time);
CREATE TABLE absence_notifications (
    id SERIAL PRIMARY KEY, student_id INTEGER NOT NULL REFERENCES students (id), notification_date DATE NOT NULL,
    sent_at TIMESTAMP WITHOUT TIME ZONE, email_sent BOOLEAN NOT NULL DEFAULT false,
    CONSTRAINT uq_absence_student_date UNIQUE (student_id, notification_date));
CREATE INDEX ix_absence_notifications_notification_date ON absence_notifications (notification_date);
CREATE TABLE justifications (
    id SERIAL PRIMARY KEY, student_id INTEGER NOT NULL REFERENCES students (id), type justificationtype NOT NULL,
    status justificationstatus NOT NULL DEFAULT 'pending', date DATE NOT NULL, reason TEXT NOT NULL,
    submitted_by VARCHAR(200) NOT NULL, reviewed_by INTEGER REFERENCES users (id),
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now());
CREATE INDEX ix_justifications_student_id ON justifications (student_id);
CREATE INDEX ix_justifications_status ON justifications (status);
CREATE TABLE settings (
    id SERIAL PRIMARY KEY, school_id INTEGER NOT NULL REFERENCES schools (id), key VARCHAR(100) NOT NULL,
    value JSON NOT NULL, CONSTRAINT uq_settings_school_key UNIQUE (school_id, key));
CREATE TABLE student_dietary_needs (
    id SERIAL PRIMARY KEY, student_id INTEGER NOT NULL UNIQUE REFERENCES students (id) ON DELETE CASCADE,
    allergies VARCHAR(100)[] NOT NULL DEFAULT '{}', notes TEXT);
CREATE TABLE kitchen_attendance (
    id SERIAL PRIMARY KEY, student_id INTEGER NOT NULL REFERENCES students (id), date DATE NOT NULL,
    will_eat BOOLEAN NOT NULL DEFAULT true, price NUMERIC(6, 2) NOT NULL DEFAULT 4.95,
    CONSTRAINT uq_kitchen_student_date UNIQUE (student_id, date));
CREATE INDEX ix_kitchen_attendance_date ON kitchen_attendance (date);

-- A month of check-ins. Who is absent or late looks drawn by lot, and is not.
INSERT INTO schools (name, address, contact_email, created_at) VALUES
    ('CEIP Peñagolosa', 'C/ Colón 12, 12001 Castelló', 'secretaria@ceip.example.org', '2024-09-01 08:00+02');
INSERT INTO users (username, email, full_name, hashed_password, role, school_id, created_at)
    SELECT login, login || '@ceip.example.org', full_name, '!', role::userrole, 1, timestamptz '2024-09-01 08:30+02'
    FROM (VALUES ('admin', 'Íñigo Núñez Peña', 'admin'), ('direccion', 'Begoña Ibáñez Solà', 'director'),
        ('cocina', 'Joaquín Muñoz Gil', 'comedor')) AS staff (login, full_name, role)
    UNION ALL SELECT 'tutor' || c, 'tutor' || c || '@ceip.example.org', 'Tutoría ' || c, '!', 'teacher', 1,
        timestamptz '2024-09-02 09:00+02' FROM generate_series(1, 39) c;
INSERT INTO students (student_id, name, class_name, parent_email, school_id, qr_code_path, is_active, created_at)
    SELECT code, given[1 + i * 7 % 16] || ' ' || family[1 + i / 16 % 15] || ' ' || family[1 + i * 11 / 13 % 15],
        years[1 + i % 13] || chr(65 + i / 13 % 3), 'familia.' || lower(code) || '@example.org', 1,
        'qr_codes/student_' || code || '.png', i % 97 < 96, timestamptz '2024-09-05 10:00+02' + i * interval '1 min'
    FROM (SELECT i, 'S' || lpad((i + 1)::text, greatest(4, length((i + 1)::text)), '0') AS code,
        '{Lucía,Martín,Sofía,Hugo,Begoña,Iñaki,Noa,Álvaro,Chloé,Ángela,Izan,Nil,Mar,Óscar,Aitana,Zoë}'::text[] given,
        '{García,Muñoz,Pérez,Ibáñez,López,Peña,Núñez,Sáez,Castaño,Ruiz,Gómez,Çelik,Vidal,Ordóñez,Gil}'::text[] family,
        '{I3,I4,I5,1º,2º,3º,4º,5º,6º,"1º ESO ","2º ESO ","3º ESO ","4º ESO "}'::text[] years
        FROM generate_series(0, :students - 1) i) AS roll ORDER BY i;
INSERT INTO teacher_class_assignments (teacher_id, class_name)
    SELECT 3 + row_number() OVER (ORDER BY min(id)), class_name FROM students GROUP BY class_name;
INSERT INTO checkins (student_id, checkin_time, checkout_time, is_late, email_sent)
    SELECT s.id, day + CASE WHEN (s.id * 571 + n * 101 + s.id * n * 53) % 1000 < 60 THEN interval '9:01' ELSE '8:34' END + (s.id * 17 + n * 29) % 1500 * second,
        CASE WHEN (s.id + n) % 41 > 0 THEN day + interval '16:30' + s.id * 13 % 900 * second END, (s.id * 571 + n * 101 + s.id * n * 53) % 1000 < 60, (s.id * 571 + n * 101 + s.id * n * 53) % 1000 < 60
    FROM students s, (SELECT day, row_number() OVER (ORDER BY day)::int AS n
        FROM generate_series(timestamp '2025-01-08', timestamp '2025-02-04', interval '1 day') day
        WHERE extract(isodow FROM day) < 6) AS days, (SELECT interval '1 s') AS t (second)
    WHERE s.is_active AND NOT (s.id * 79 + n * 443 + s.id * n * 37) % 1000 < 45 ORDER BY n, s.id;
INSERT INTO absence_notifications (student_id, notification_date, sent_at, email_sent)
    SELECT s.id, day, day + interval '9:45', true FROM students s, (SELECT day, row_number() OVER (ORDER BY day)::int AS n
        FROM generate_series(timestamp '2025-01-08', timestamp '2025-02-04', interval '1 day') day
        WHERE extract(isodow FROM day) < 6) AS days
    WHERE s.is_active AND (s.id * 79 + n * 443 + s.id * n * 37) % 1000 < 45 ORDER BY n, s.id;
INSERT INTO justifications (student_id, type, status, date, reason, submitted_by, reviewed_by, created_at)
    SELECT s.id, 'absence', ('{pending,approved,approved,rejected}'::justificationstatus[])[1 + a.id % 4], a.day,
        ('{Fiebre,"Cita médica","Gripe, con informe","Asuntos de família","Excursión"}'::text[])[1 + a.id % 5],
        s.parent_email, CASE WHEN a.id % 4 > 0 THEN 2 END, (a.day + time '18:00') AT TIME ZONE 'UTC'
    FROM (SELECT id, student_id, notification_date AS day FROM absence_notifications) AS a
    JOIN students s ON s.id = a.student_id WHERE a.id % 3 > 0 ORDER BY a.id;
INSERT INTO settings (school_id, key, value) VALUES (1, 'late_after', '"09:00"'), (1, 'absence_email_at', '"09:45"'),
    (1, 'email', '{"from": "avisos@ceip.example.org", "subject": "Avís d''absència / Aviso de ausencia"}');
INSERT INTO student_dietary_needs (student_id, allergies, notes)
    SELECT id, (ARRAY['{gluten}', '{lácteos,huevo}', '{frutos secos}', '{}'])[1 + id % 4]::text[],
        CASE WHEN id % 4 = 3 THEN 'Menú sin cerdo' END FROM students WHERE id % 11 = 5 ORDER BY id;
INSERT INTO kitchen_attendance (student_id, date, will_eat)
    SELECT s.id, day, NOT (s.id * 79 + n * 443 + s.id * n * 37) % 1000 < 45 FROM students s, (SELECT day, row_number() OVER (ORDER BY day)::int AS n
        FROM generate_series(timestamp '2025-01-08', timestamp '2025-02-04', interval '1 day') day
        WHERE extract(isodow FROM day) < 6) AS days
    WHERE s.is_active AND s.id % 5 < 3 ORDER BY n, s.id;
